#include <trireme/report/unit_reducer.h>

#include "support/spawn_ranks.h"

#include <gtest/gtest.h>

namespace trireme::report {
namespace {

TEST(UnitReducer, RankZeroSeesTheSpreadOfEveryUnit) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& ranks) {
    const int rank = ranks->rank();
    const std::vector<UnitRow> mine = {
        {.name = "a", .parameters_bytes = 8, .activations_bytes = 100 + rank},
        {.name = "b", .forward_seconds = 0.5 - 0.1 * rank, .backward_seconds = 1.0 * rank}};
    const auto units = reduce_units(*ranks, mine);
    ASSERT_EQ(units.has_value(), rank == 0);
    if (!units) return;
    ASSERT_EQ(units->size(), 2U);
    const UnitSpread& a = (*units)[0];
    const UnitSpread& b = (*units)[1];
    EXPECT_EQ(a.row.name, "a");
    EXPECT_EQ(a.row.parameters_bytes, 8);
    EXPECT_EQ(a.activations_bytes.mean, 101.0);
    EXPECT_EQ(a.activations_bytes.max_rank, 2);
    EXPECT_EQ(b.forward_seconds.max_rank, 0);
    EXPECT_EQ(b.forward_seconds.max, 0.5);
    EXPECT_EQ(b.backward_seconds.mean, 1.0);
    EXPECT_EQ(a.backward_seconds.max, 0.0);
  });
}

}  // namespace
}  // namespace trireme::report

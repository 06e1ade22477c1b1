#include <trireme/report/section_reducer.h>

#include "support/spawn_ranks.h"

#include <vector>

#include <gtest/gtest.h>

namespace trireme::report {
namespace {

using telemetry::Category;
using telemetry::SectionTotals;

TEST(SectionReducer, MatchesSectionsByNameAndCategory) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& ranks) {
    const int rank = ranks->rank();
    const SectionTotals load{.name = "load", .category = Category::data_loading, .calls = 10 * (rank + 1), .seconds = 1.0 + rank};
    const SectionTotals experts{.name = "experts", .calls = 4, .seconds = 8, .memory_calls = 2, .memory_delta = 200 * rank, .memory_peak = 500 - rank};
    // In another order on rank 1; rank 2 has none of the model's, but one of the same name as another.
    std::vector<SectionTotals> mine;
    if (rank == 0) mine = {load, experts};
    if (rank == 1) mine = {experts, load};
    if (rank == 2) mine = {load, {.name = "load", .calls = 1, .seconds = 0.5}};
    const auto sections = reduce_sections(*ranks, mine);
    ASSERT_EQ(sections.has_value(), rank == 0);
    if (!sections) return;
    ASSERT_EQ(sections->size(), 3U);
    const SectionSpread& first = (*sections)[0];
    EXPECT_EQ(first.name, "experts");
    EXPECT_EQ(first.category, Category::user);
    EXPECT_EQ(first.ranks, 2);
    EXPECT_EQ(first.calls, 4);
    EXPECT_EQ(first.memory_delta.max, 100) << "of a call";
    EXPECT_EQ(first.memory_delta.max_rank, 1);
    EXPECT_EQ(first.memory_peak.max, 500);
    EXPECT_EQ(first.memory_peak.max_rank, 0);
    const SectionSpread& second = (*sections)[1];
    EXPECT_EQ(second.name, "load");
    EXPECT_EQ(second.category, Category::data_loading);
    EXPECT_EQ(second.ranks, 3);
    EXPECT_EQ(second.calls, 20);
    EXPECT_EQ(second.seconds.max_rank, 2);
    EXPECT_EQ(second.memory_peak.max_rank, -1) << "not known";
    EXPECT_EQ((*sections)[2].ranks, 1);
  });
}

}  // namespace
}  // namespace trireme::report

#include <trireme/report/traffic_reducer.h>

#include "support/spawn_ranks.h"

#include <vector>

#include <gtest/gtest.h>

namespace trireme::report {
namespace {

TEST(TrafficReducer, MatchesRowsByGroupAndOperation) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& ranks) {
    const int rank = ranks->rank();
    std::vector<comm::TrafficRow> mine;
    // In another order on rank 1; rank 2 is not in the group of the others' broadcasts.
    const comm::TrafficRow reduce{"world", "all_reduce", 20, 2000 * (rank + 1), 0.5, 0.25, 1000 * (rank + 1)};
    const comm::TrafficRow broadcast{"world/node", "broadcast", 10, 500, 0, 0.1};
    if (rank == 0) mine = {reduce, broadcast};
    if (rank == 1) mine = {broadcast, reduce};
    if (rank == 2) mine = {reduce};
    const auto rows = reduce_traffic(*ranks, mine, 10);
    ASSERT_EQ(rows.has_value(), rank == 0);
    if (!rows) return;
    ASSERT_EQ(rows->size(), 2U);
    const TrafficSpread& first = (*rows)[0];
    EXPECT_EQ(first.group, "world");
    EXPECT_EQ(first.operation, "all_reduce");
    EXPECT_EQ(first.ranks, 3);
    EXPECT_DOUBLE_EQ(first.calls, 2);
    EXPECT_DOUBLE_EQ(first.bytes, 400);
    EXPECT_DOUBLE_EQ(first.busy_seconds, 0.05);
    EXPECT_DOUBLE_EQ(first.waited_seconds, 0.025);
    // Of the bytes that took the 0.5 s.
    EXPECT_DOUBLE_EQ(first.bytes_per_second.min, 2000);
    EXPECT_DOUBLE_EQ(first.bytes_per_second.max, 6000);
    EXPECT_EQ(first.bytes_per_second.max_rank, 2);
    const TrafficSpread& second = (*rows)[1];
    EXPECT_EQ(second.group, "world/node");
    EXPECT_EQ(second.ranks, 2);
    EXPECT_DOUBLE_EQ(second.calls, 1);
    EXPECT_EQ(second.bytes_per_second.max_rank, -1) << "not known: it was never busy";
  });
}

TEST(TrafficReducer, NothingTraced) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& ranks) {
    const auto rows = reduce_traffic(*ranks, {}, 0);
    EXPECT_EQ(rows && rows->empty(), ranks->rank() == 0);
  });
}

}  // namespace
}  // namespace trireme::report

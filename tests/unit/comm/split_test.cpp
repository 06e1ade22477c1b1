#include "comm/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

using testing::ElementsAre;

Group parent(int rank) {
  return {"world/some", rank, {4, 6, 7, 9}, 2};
}

TEST(Split, groups_by_colour_and_orders_by_key_then_rank) {
  const std::vector<Ballot> ballots{{5, 9, 3}, {1, 0, 3}, {5, 2, 3}, {5, 2, 3}};
  const Division first = divide(parent(0), ballots, "x");
  ASSERT_TRUE(first.group);
  EXPECT_THAT(first.group->ranks, ElementsAre(7, 9, 4));
  EXPECT_EQ(first.group->rank, 2);
  EXPECT_EQ(first.group->name, "world/some/x");
  const Division second = divide(parent(1), ballots, "x");
  EXPECT_THAT(second.group->ranks, ElementsAre(6));
  EXPECT_EQ(second.group->rank, 0);
}

TEST(Split, takes_a_context_that_no_rank_has_used_and_all_agree_on_it) {
  const std::vector<Ballot> ballots{{0, 0, 3}, {0, 0, 8}, {-1, 0, 5}, {1, 0, 4}};
  for (int rank = 0; rank < 4; ++rank) {
    const Division division = divide(parent(rank), ballots, "x");
    EXPECT_EQ(division.context, 8);
    EXPECT_EQ(division.group.has_value(), rank != 2);
    if (division.group) {
      EXPECT_EQ(division.group->context, 8);
    }
  }
}

}  // namespace
}  // namespace trireme::comm

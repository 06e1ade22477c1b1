#include "comm/roll.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

Roll three() {
  return Roll({"a", "a", "b"});
}

Failure diverged(int rank) {
  Failure failure;
  failure.kind = ErrorKind::diverged;
  failure.rank = rank;
  return failure;
}

TEST(Roll, the_first_failure_is_the_verdict) {
  Roll roll = three();
  EXPECT_FALSE(roll.verdict());
  EXPECT_TRUE(roll.judge(diverged(1)));
  EXPECT_FALSE(roll.judge(diverged(2)));
  EXPECT_FALSE(roll.lose(0));
  EXPECT_EQ(roll.verdict()->rank, 1);
}

TEST(Roll, a_rank_that_vanishes_is_named_with_its_host) {
  Roll roll = three();
  EXPECT_TRUE(roll.lose(2));
  EXPECT_EQ(roll.verdict()->kind, ErrorKind::peer_lost);
  EXPECT_EQ(roll.verdict()->rank, 2);
  EXPECT_EQ(roll.verdict()->host, "b");
  EXPECT_THAT(roll.verdict()->message, testing::HasSubstr("rank 2 on b"));
  EXPECT_FALSE(roll.lose(2));
}

TEST(Roll, a_goodbye_makes_the_end_of_a_connection_harmless) {
  Roll roll = three();
  roll.hear_goodbye(1);
  EXPECT_FALSE(roll.lose(1));
  EXPECT_FALSE(roll.verdict());
}

TEST(Roll, the_first_survivor_is_the_lowest_rank_that_lives) {
  Roll roll = three();
  EXPECT_EQ(roll.first_survivor(), 0);
  roll.lose(0);
  EXPECT_EQ(roll.first_survivor(), 1);
  roll.lose(1);
  EXPECT_EQ(roll.first_survivor(), 2);
}

TEST(Roll, ranks_may_leave_when_the_record_stands_and_all_who_live_are_ready) {
  Roll roll = three();
  roll.lose(2);
  roll.hear_ready(1, false);
  EXPECT_FALSE(roll.may_leave());
  roll.hear_ready(0, false);
  EXPECT_FALSE(roll.may_leave());  // nobody has written exit.json
  roll.hear_ready(0, true);
  EXPECT_TRUE(roll.may_leave());
}

TEST(Roll, a_rank_that_is_lost_while_others_wait_for_it_is_not_waited_for) {
  Roll roll = three();
  roll.judge(diverged(0));
  roll.hear_ready(0, true);
  roll.hear_ready(1, false);
  EXPECT_FALSE(roll.may_leave());
  roll.lose(2);
  EXPECT_TRUE(roll.may_leave());
}

}  // namespace
}  // namespace trireme::comm

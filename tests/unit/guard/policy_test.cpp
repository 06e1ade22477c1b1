#include <trireme/core/error.h>
#include <trireme/guard/policy.h>

#include <gmock/gmock.h>

namespace trireme::guard {
namespace {

using testing::HasSubstr;
using Decision = NonfinitePolicy::Decision;

TEST(NonfinitePolicy, StopNamesStepAndRank) {
  NonfinitePolicy policy({.nonfinite = "stop"});
  EXPECT_EQ(policy.judge(4, -1), Decision::proceed);
  try {
    policy.judge(5, 2);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.message(), HasSubstr("step 5"));
    EXPECT_THAT(error.message(), HasSubstr("rank 2"));
    EXPECT_THAT(error.hint(), HasSubstr("optim.lr"));
  }
}

TEST(NonfinitePolicy, SkipsUntilTooManyInARow) {
  NonfinitePolicy policy({.nonfinite = "skip"}, 3);
  EXPECT_EQ(policy.judge(0, 1), Decision::skip);
  EXPECT_EQ(policy.judge(1, 0), Decision::skip);
  EXPECT_EQ(policy.skips_in_a_row(), 2);
  EXPECT_EQ(policy.judge(2, -1), Decision::proceed);
  EXPECT_EQ(policy.skips_in_a_row(), 0);
  EXPECT_EQ(policy.judge(3, 0), Decision::skip);
  EXPECT_EQ(policy.judge(4, 0), Decision::skip);
  try {
    policy.judge(5, 3);
    FAIL() << "went on";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.message(), HasSubstr("3 steps in a row"));
    EXPECT_THAT(error.message(), HasSubstr("rank 3"));
  }
}

TEST(NonfinitePolicy, UnknownPoliciesAreABug) {
  EXPECT_THROW(NonfinitePolicy({.nonfinite = "rollback"}), Error);
}

TEST(GuardConfig, HangSecondsServeAsTheCommunicatorsDeadline) {
  EXPECT_EQ(GuardConfig{}.hang_seconds, 600);
}

}  // namespace
}  // namespace trireme::guard

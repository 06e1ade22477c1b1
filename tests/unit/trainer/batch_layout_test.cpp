#include "trainer/batch_layout.h"

#include <trireme/core/error.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

TEST(BatchLayout, WithoutAGlobalBatchTheRanksDecide) {
  const BatchLayout layout = lay_out_batch(8, 3, 2, std::nullopt);
  EXPECT_EQ(layout.global_batch, 48);
  EXPECT_EQ(layout.micro_steps, 2);
  EXPECT_TRUE(layout.even());
}

TEST(BatchLayout, AGlobalBatchIsKeptOnEveryNumberOfRanks) {
  for (int64_t batch = 1; batch <= 9; ++batch)
    for (int64_t ranks = 1; ranks <= 9; ++ranks)
      for (int64_t global = 1; global <= 40; ++global) {
        const BatchLayout layout = lay_out_batch(batch, ranks, std::nullopt, global);
        EXPECT_EQ(layout.global_batch, global);
        // Enough micro-steps to take all samples, and not one more.
        EXPECT_GE(layout.micro_steps * batch * ranks, global);
        EXPECT_LT((layout.micro_steps - 1) * batch * ranks, global);
        EXPECT_EQ(layout.even(), global % (batch * ranks) == 0);
      }
}

TEST(BatchLayout, RefusesAContradiction) {
  EXPECT_NO_THROW((void)lay_out_batch(4, 2, 2, 16));
  try {
    (void)lay_out_batch(4, 2, 3, 16);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::configuration);
    EXPECT_THAT(e.what(), testing::HasSubstr("takes 2 micro-steps, but train.accumulate is 3"));
  }
}

TEST(TotalSteps, TakesStepsOrEpochsButNotBoth) {
  EXPECT_EQ(total_steps(7, std::nullopt, 3), 7);
  EXPECT_EQ(total_steps(std::nullopt, 4, 3), 12);
  EXPECT_THROW((void)total_steps(7, 4, 3), Error);
  EXPECT_THROW((void)total_steps(std::nullopt, std::nullopt, 3), Error);
}

}  // namespace
}  // namespace trireme::trainer

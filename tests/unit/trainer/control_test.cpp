#include "trainer/control.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

TEST(Control, ReadsMeansVotesAndTheFirstRankThatIsNotFinite) {
  const at::Tensor summed = at::tensor({6.0, 4.0, 0.0, 2.0, /*saving*/ 1.0, /*debug*/ 1.0, /*ranks*/ 0.0, 1.0, 1.0, /*metrics*/ 3.0, 8.0}, at::kDouble);
  const Agreed agreed = read_control(summed, 3);
  EXPECT_DOUBLE_EQ(agreed.loss, 1.5);
  EXPECT_DOUBLE_EQ(agreed.weight, 4.0);
  EXPECT_FALSE(agreed.stop);
  EXPECT_TRUE(agreed.save);
  EXPECT_TRUE(agreed.saving);
  EXPECT_TRUE(agreed.debug);
  EXPECT_EQ(agreed.first_nonfinite_rank, 1);
  EXPECT_THAT(agreed.metrics, testing::ElementsAre(0.75, 2.0));
}

TEST(Control, ABatchThatCountsNothingHasNoInfiniteLoss) {
  const Agreed agreed = read_control(at::zeros({control::first_metric(2)}, at::kDouble), 2);
  EXPECT_DOUBLE_EQ(agreed.loss, 0.0);
  EXPECT_EQ(agreed.first_nonfinite_rank, -1);
  EXPECT_TRUE(agreed.metrics.empty());
}

}  // namespace
}  // namespace trireme::trainer

#include "trainer/contribution.h"

#include "trainer/control.h"

#include <trireme/core/error.h>

#include <limits>

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

model::LossSums sums(double loss, double weight, double correct) {
  return {at::scalar_tensor(loss, at::kFloat), at::scalar_tensor(weight, at::kDouble),
          {{"accuracy", at::scalar_tensor(correct, at::kDouble)}}};
}
std::vector<double> values(const at::Tensor& vector) {
  return {vector.const_data_ptr<double>(), vector.const_data_ptr<double>() + vector.numel()};
}

TEST(Contribution, AddsUpMicroStepsVotesAndMetrics) {
  Contribution contribution;
  contribution.add(sums(1.5, 2, 1));
  contribution.add(sums(2.25, 3, 2));
  contribution.add(sums(0, 0, 0));
  EXPECT_THAT(values(contribution.control({.stop = true}, 1, 2)), testing::ElementsAre(3.75, 5, 1, 0, 0, 0, 0, 0, 3));
  EXPECT_THAT(values(contribution.control({.save = true, .saving = true}, 0, 2)), testing::ElementsAre(3.75, 5, 0, 1, 1, 0, 0, 0, 3));
}

TEST(Contribution, TheWayOfDevicesGivesTheSame) {
  for (const double loss : {1.5, std::numeric_limits<double>::infinity()}) {
    Contribution contribution;
    contribution.add(sums(loss, 2, 1));
    contribution.add(sums(2.25, 3, 2));
    const std::vector<double> here = values(contribution.control({.save = true, .saving = true, .debug = true}, 1, 3));
    const at::Tensor votes = at::tensor({0.0, 1.0, 1.0, 1.0}, at::kDouble);
    EXPECT_EQ(values(contribution.control_on_device(votes, 1, 3)), here);
  }
}

TEST(Contribution, FlagsItsOwnRankOnly) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    Contribution contribution;
    contribution.add(sums(1, 1, 1));
    contribution.add(sums(bad, 1, 1));
    const std::vector<double> vector = values(contribution.control({}, 1, 3));
    EXPECT_THAT(std::vector(vector.begin() + control::first_flag, vector.begin() + control::first_metric(3)),
                testing::ElementsAre(0, 1, 0));
  }
}

TEST(Contribution, MetricsDoNotComeAndGo) {
  Contribution contribution;
  contribution.add(sums(1, 1, 1));
  const model::LossSums without = {at::scalar_tensor(1.0F), at::scalar_tensor(1.0, at::kDouble), {}};
  EXPECT_THROW(contribution.add(without), Error);
}

}  // namespace
}  // namespace trireme::trainer

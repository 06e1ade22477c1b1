#include "trainer/update_scales.h"

#include "trainer/control.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace trireme::trainer {
namespace {

constexpr int ranks = 2;
const double infinity = std::numeric_limits<double>::infinity();

at::Tensor control_of(double weight, double flag_of_rank_1 = 0) {
  return at::tensor({6.0, weight, 0.0, 0.0, 0.0, 0.0, 0.0, flag_of_rank_1}, at::kDouble);
}
optim::GradientHealth health_of(double square_sum) {
  return {at::scalar_tensor(square_sum, at::kDouble), at::scalar_tensor(std::isfinite(square_sum) ? 0.0 : 1.0, at::kFloat)};
}
at::Tensor scale_of(double scale) { return at::scalar_tensor(scale, at::kFloat); }

TEST(UpdateScales, TakeNominalWeightAndLossScaleOutAgain) {
  // Gradients hold sum * 8 / 10, the true weight is 5: the average is what they hold * 10 / 5 / 8.
  const UpdateScales scales = update_scales(control_of(5), ranks, health_of(16), scale_of(8), 10, 0);
  EXPECT_DOUBLE_EQ(scales.norm.item<double>(), 1.0);
  EXPECT_FLOAT_EQ(scales.gradient_scale.item<float>(), 0.25F);
  EXPECT_EQ(scales.nonfinite.item<float>(), 0.0F);
}

TEST(UpdateScales, ClipTheAveragedGradient) {
  EXPECT_NEAR(update_scales(control_of(5), ranks, health_of(16), scale_of(8), 10, 0.5).gradient_scale.item<float>(), 0.125, 1e-6);
  EXPECT_FLOAT_EQ(update_scales(control_of(5), ranks, health_of(16), scale_of(8), 10, 2.0).gradient_scale.item<float>(), 0.25F);
}

TEST(UpdateScales, AnythingThatIsNotFiniteLeavesTheUpdateOut) {
  const auto flag = [](const at::Tensor& control, double square_sum, double scale) {
    return update_scales(control, ranks, health_of(square_sum), scale_of(scale), 10, 1.0).nonfinite.item<float>();
  };
  EXPECT_EQ(flag(control_of(5), 16, 8), 0.0F);
  EXPECT_EQ(flag(control_of(5, 1), 16, 8), 1.0F) << "a loss of another rank";
  EXPECT_EQ(flag(control_of(5), infinity, 8), 1.0F) << "the gradient";
  EXPECT_EQ(flag(control_of(5), 16, 0), 1.0F) << "the scale itself";
}

TEST(UpdateScales, HostAndDeviceAgree) {
  for (const double weight : {0.0, 3.0, 1e6})
    for (const double flag : {0.0, 1.0})
      for (const double square_sum : {0.0, 7.0, 1e20, infinity})
        for (const double max_norm : {0.0, 0.3})
          for (const double scale : {1.0, 65536.0}) {
            const auto give = [&](const auto& ways) {
              return ways(control_of(weight, flag), ranks, health_of(square_sum), scale_of(scale), 10.0, max_norm);
            };
            const UpdateScales host = give(update_scales), device = give(update_scales_on_device);
            EXPECT_EQ(host.nonfinite.item<float>(), device.nonfinite.item<float>());
            EXPECT_DOUBLE_EQ(host.norm.item<double>(), device.norm.item<double>());
            const float mine = host.gradient_scale.item<float>(), theirs = device.gradient_scale.item<float>();
            if (std::isfinite(theirs)) {
              EXPECT_NEAR(mine, theirs, std::abs(theirs) * 3e-7);
            }
          }
}

}  // namespace
}  // namespace trireme::trainer

#include <trireme/optim/gradient_norm.h>

#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gtest/gtest.h>

namespace trireme::optim {
namespace {

at::Tensor values(int64_t n, uint64_t seed) {
  at::manual_seed(seed);
  return at::randn({n});
}

class Lengths : public testing::TestWithParam<int64_t> {};

TEST_P(Lengths, SumOfSquaresIsExact) {
  const at::Tensor x = values(GetParam(), 1), y = values(37, 2);
  const double want = x.to(at::kDouble).square().sum().item<double>() +
                      y.to(at::kDouble).square().sum().item<double>();
  const GradientHealth health = gradient_health({x, y});
  EXPECT_EQ(health.square_sum.scalar_type(), at::kDouble);
  EXPECT_EQ(health.square_sum.dim(), 0);
  EXPECT_EQ(health.nonfinite.scalar_type(), at::kFloat);
  EXPECT_NEAR(health.square_sum.item<double>(), want, 1e-13 * want);
  EXPECT_EQ(health.nonfinite.item<float>(), 0.0F);
  EXPECT_NEAR(global_norm({x, y}).item<double>(), std::sqrt(want), 1e-13 * std::sqrt(want));
}

INSTANTIATE_TEST_SUITE_P(Sizes, Lengths,
                         testing::Values(0, 1, 7, 31, 32, 33, 1000, 16383, 16384, 16385, 100'003));

TEST(GradientHealth, FindsTheOneBadElementAnywhere) {
  for (const float bad :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    for (const int64_t at : {0, 5, 4095, 16383, 16384, 39'999}) {
      at::Tensor x = values(40'000, 3);
      x.data_ptr<float>()[at] = bad;
      EXPECT_EQ(gradient_health({x}).nonfinite.item<float>(), 1.0F) << at;
    }
  }
}

TEST(GradientHealth, LargeFiniteGradientsAreFinite) {
  const at::Tensor x = at::full({1000}, std::numeric_limits<float>::max());
  const GradientHealth health = gradient_health({x});
  EXPECT_EQ(health.nonfinite.item<float>(), 0.0F);
  EXPECT_TRUE(std::isfinite(health.square_sum.item<double>()));
}

TEST(GradientHealth, DoesNotDependOnTheNumberOfThreads) {
  const at::Tensor x = values(1'000'003, 4);
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const double one = gradient_health({x}).square_sum.item<double>();
  at::set_num_threads(2);
  const double two = gradient_health({x}).square_sum.item<double>();
  at::set_num_threads(3);
  const double three = gradient_health({x}).square_sum.item<double>();
  at::set_num_threads(before);
  EXPECT_EQ(one, two);
  EXPECT_EQ(one, three);
}

TEST(GradientHealth, OfASumOverRanks) {
  EXPECT_EQ(nonfinite_flag(at::scalar_tensor(2.0, at::kDouble)).item<float>(), 0.0F);
  EXPECT_EQ(nonfinite_flag(at::scalar_tensor(NAN, at::kDouble)).item<float>(), 1.0F);
  EXPECT_EQ(nonfinite_flag(at::scalar_tensor(INFINITY, at::kDouble)).item<float>(), 1.0F);
  EXPECT_EQ(nonfinite_flag(at::scalar_tensor(2.0, at::kDouble)).scalar_type(), at::kFloat);
}

TEST(ClipCoefficient, ShortensOnlyWhatIsTooLong) {
  EXPECT_EQ(clip_coefficient(at::scalar_tensor(0.5, at::kDouble), 1.0).item<float>(), 1.0F);
  EXPECT_FLOAT_EQ(clip_coefficient(at::scalar_tensor(4.0, at::kDouble), 1.0).item<float>(),
                  static_cast<float>(1.0 / (4.0 + 1e-6)));
  EXPECT_EQ(clip_coefficient(at::scalar_tensor(0.0, at::kDouble), 1.0).item<float>(), 1.0F);
  EXPECT_EQ(clip_coefficient(at::scalar_tensor(1.0, at::kDouble), 1.0).scalar_type(), at::kFloat);
}

}  // namespace
}  // namespace trireme::optim

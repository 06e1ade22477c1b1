#include <trireme/core/error.h>
#include <trireme/ops/cross_entropy.h>

#include "ops/reference.h"
#include "ops/simd.h"
#include "ops/softmax_rows.h"

#include <cmath>
#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

struct Case {
  at::Tensor logits, targets;
};

Case make_case(int64_t n, int64_t classes, double spread = 3.0) {
  at::manual_seed(n * 1000 + classes);
  return {at::randn({n, classes}) * spread,
          at::randint(0, classes, {n}, at::TensorOptions(at::kLong))};
}

// Loss and gradient of `scale` times the loss, with the logits a non-leaf as in a model.
struct Result {
  CrossEntropy sums;
  at::Tensor gradient;
};
template <class F>
Result differentiate(F&& operation, const at::Tensor& logits, const at::Tensor& targets,
                     const at::Tensor& mask = {}, const CrossEntropyOptions& options = {},
                     double scale = 1.0) {
  at::Tensor leaf = logits.detach().clone().requires_grad_(true);
  Result result{operation(leaf * 1.0, targets, mask, options), {}};
  torch::autograd::backward({result.sums.loss_sum * scale});
  result.gradient = leaf.grad();
  return result;
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return a.numel() == 0 ? 0.0 : (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

class Sizes : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(Sizes, AgreeWithTheReferenceInDoublePrecision) {
  const auto [n, classes] = GetParam();
  const auto [logits, targets] = make_case(n, classes);
  const Result expected =
      differentiate(reference::cross_entropy_sum, logits.to(at::kDouble), targets, {}, {}, 0.25);
  for (const bool consume : {false, true}) {
    const CrossEntropyOptions options{.consume_logits = consume};
    const Result got = differentiate(cross_entropy_sum, logits, targets, {}, options, 0.25);
    EXPECT_EQ(got.sums.loss_sum.scalar_type(), at::kFloat);
    EXPECT_EQ(got.sums.loss_sum.dim(), 0);
    EXPECT_NEAR(got.sums.loss_sum.item<double>(), expected.sums.loss_sum.item<double>(),
                2e-6 * (1.0 + std::abs(expected.sums.loss_sum.item<double>())));
    EXPECT_EQ(got.sums.weight.item<double>(), static_cast<double>(n));
    EXPECT_EQ(got.sums.correct.item<double>(), expected.sums.correct.item<double>());
    EXPECT_LT(largest_difference(got.gradient, expected.gradient), 3e-7);
  }
}
INSTANTIATE_TEST_SUITE_P(CrossEntropy, Sizes,
                         testing::Combine(testing::Values(0, 1, 7),
                                          testing::Values(1, 2, 10, 31, 32, 33, 64, 257, 1000)));

TEST(CrossEntropy, GradientIsThatOfFiniteDifferences) {
  const auto [logits, targets] = make_case(3, 37);
  const at::Tensor x = logits.to(at::kDouble);
  const Result got = differentiate(cross_entropy_sum, logits, targets);
  const double step = 1e-5;
  for (const int64_t row : {0, 2})
    for (int64_t j = 0; j < 37; j += 5) {
      at::Tensor up = x.clone(), down = x.clone();
      up[row][j] += step;
      down[row][j] -= step;
      const double slope = (cross_entropy_sum(up, targets).loss_sum.item<double>() -
                            cross_entropy_sum(down, targets).loss_sum.item<double>()) /
                           (2 * step);
      EXPECT_NEAR(got.gradient[row][j].item<double>(), slope, 1e-6);
    }
}

TEST(CrossEntropy, RowsMayNotCount) {
  auto [logits, targets] = make_case(6, 50);
  targets[1] = -100;
  const at::Tensor mask = at::tensor({1, 1, 0, 1, 0, 1}).to(at::kByte);
  targets[4] = 99;  // out of range, but masked
  const Result got = differentiate(cross_entropy_sum, logits, targets, mask);
  const Result expected = differentiate(reference::cross_entropy_sum, logits, targets, mask);
  EXPECT_EQ(got.sums.weight.item<double>(), 3.0);
  EXPECT_NEAR(got.sums.loss_sum.item<double>(), expected.sums.loss_sum.item<double>(), 1e-5);
  EXPECT_LT(largest_difference(got.gradient, expected.gradient), 1e-6);
  for (const int64_t row : {1, 2, 4}) EXPECT_EQ(got.gradient[row].abs().max().item<double>(), 0.0);
  EXPECT_EQ(cross_entropy_sum(logits, targets, at::zeros({6})).loss_sum.item<double>(), 0.0);
}

TEST(CrossEntropy, BadTargetsAreNamed) {
  auto [logits, targets] = make_case(4, 50);
  for (const int64_t bad : {50, -1}) {
    targets[2] = bad;
    try {
      (void)cross_entropy_sum(logits, targets);
      FAIL() << "accepted target " << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
      EXPECT_THAT(error.message(), testing::HasSubstr(std::to_string(bad) + " in row 2"));
      EXPECT_THAT(error.message(), testing::HasSubstr("50 classes"));
    }
  }
}

TEST(CrossEntropy, LowPrecisionIsComputedInFloat) {
  const auto [logits, targets] = make_case(5, 100);
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const at::Tensor low = logits.to(type);
    for (const bool consume : {false, true}) {
      const Result got =
          differentiate(cross_entropy_sum, low, targets, {}, {.consume_logits = consume});
      const Result expected = differentiate(cross_entropy_sum, low.to(at::kFloat), targets);
      EXPECT_EQ(got.sums.loss_sum.item<float>(), expected.sums.loss_sum.item<float>());
      EXPECT_EQ(got.gradient.scalar_type(), type);
      EXPECT_TRUE(at::equal(got.gradient, expected.gradient.to(type)));
    }
  }
}

TEST(CrossEntropy, ExtremeLogits) {
  const at::Tensor targets = at::zeros({1}, at::TensorOptions(at::kLong));
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto row = [](std::vector<float> values) {
    return at::tensor(values).unsqueeze(0);
  };
  const Result huge = differentiate(cross_entropy_sum, row({1e30F, 0, -1e30F}), targets);
  EXPECT_EQ(huge.sums.loss_sum.item<float>(), 0.0F);
  EXPECT_EQ(huge.gradient.abs().max().item<float>(), 0.0F);
  // A class that is switched off by -infinity has no probability and no gradient.
  const Result off = differentiate(cross_entropy_sum, row({1, 1, -infinity}), targets);
  EXPECT_FLOAT_EQ(off.sums.loss_sum.item<float>(), std::log(2.0F));
  EXPECT_EQ(off.gradient[0][2].item<float>(), 0.0F);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity})
    EXPECT_TRUE(std::isnan(cross_entropy_sum(row({0, 1, bad}), targets).loss_sum.item<float>()));
}

TEST(CrossEntropy, CorrectMeansTheFirstLargest) {
  const at::Tensor logits = at::tensor({2.0F, 2.0F, 1.0F}).unsqueeze(0).repeat({3, 1});
  EXPECT_EQ(cross_entropy_sum(logits, at::arange(3)).correct.item<double>(), 1.0);
}

TEST(CrossEntropy, ConsumedLogitsAreConsumedOnce) {
  const auto [logits, targets] = make_case(2, 40);
  at::Tensor leaf = logits.clone().requires_grad_(true);
  const at::Tensor x = leaf * 1.0;
  const auto sums = cross_entropy_sum(x, targets, {}, {.consume_logits = true});
  torch::autograd::backward({sums.loss_sum}, {}, /*retain_graph=*/true);
  EXPECT_TRUE(at::equal(x.detach(), leaf.grad())) << "the gradient is written over the logits";
  EXPECT_THROW(torch::autograd::backward({sums.loss_sum}), std::exception);
}

TEST(CrossEntropy, ThreadsDoNotChangeTheResult) {
  const auto [logits, targets] = make_case(64, 1500);
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const Result one = differentiate(cross_entropy_sum, logits, targets);
  at::set_num_threads(2);
  const Result two = differentiate(cross_entropy_sum, logits, targets);
  at::set_num_threads(threads);
  EXPECT_EQ(one.sums.loss_sum.item<float>(), two.sums.loss_sum.item<float>());
  EXPECT_TRUE(at::equal(one.gradient, two.gradient));
}

TEST(SoftmaxRows, WideAndNarrowVectorsGiveEqualBits) {
  if (!simd::has_avx512()) return;  // only one of the two exists here
  at::manual_seed(1);
  for (const int64_t n : {1, 31, 32, 63, 1000, 4099}) {
    const at::Tensor x = at::randn({n}) * 10, narrow = at::empty({n}), wide = at::empty({n});
    const float* row = x.const_data_ptr<float>();
    const RowSoftmax a = SoftmaxRows<float>::forward(row, n, false);
    const RowSoftmax b = SoftmaxRows<float>::forward(row, n, true);
    EXPECT_EQ(a.maximum, b.maximum);
    EXPECT_EQ(a.sum, b.sum);
    SoftmaxRows<float>::scaled_exponentials(row, narrow.mutable_data_ptr<float>(), n, a.maximum,
                                            0.3F, false);
    SoftmaxRows<float>::scaled_exponentials(row, wide.mutable_data_ptr<float>(), n, a.maximum, 0.3F,
                                            true);
    EXPECT_TRUE(at::equal(narrow, wide));
    at::Tensor one = at::randn({n}), two = one.clone();
    SoftmaxRows<float>::backward(row, one.mutable_data_ptr<float>(), n, false);
    SoftmaxRows<float>::backward(row, two.mutable_data_ptr<float>(), n, true);
    EXPECT_TRUE(at::equal(one, two));
  }
}

TEST(SoftmaxRows, ExponentialsAreAccurateOverTheWholeRange) {
  const at::Tensor x = at::linspace(-87.2, 0, 100001), y = at::empty_like(x);
  SoftmaxRows<float>::scaled_exponentials(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(),
                                          x.numel(), 0, 1, false);
  const at::Tensor exact = at::exp(x.to(at::kDouble));
  EXPECT_LT(((y.to(at::kDouble) - exact) / exact).abs().max().item<double>(), 2e-7);
}

}  // namespace
}  // namespace trireme::ops

#include <trireme/ops/dropout.h>

#include "ops/dropout_hash.h"
#include "ops/reference.h"

#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

const core::RandomKey key(5);

TEST(Dropout, AgreesWithTheReferenceInValueAndGradient) {
  at::manual_seed(1);
  const std::vector<int64_t> samples = {3, 900000000000};
  const at::Tensor keys = sample_keys(key, samples);
  for (const auto type : {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf}) {
    const at::Tensor values = at::randn({2, 5, 13}).to(type);
    at::Tensor a = values.clone().requires_grad_(true), b = values.clone().requires_grad_(true);
    const at::Tensor x = dropout(a, 0.25, keys, "here");
    const at::Tensor y = reference::dropout(b, 0.25, keys, "here");
    const double tolerance = type == at::kFloat || type == at::kDouble ? 1e-6 : 1e-2;
    EXPECT_TRUE(at::allclose(x, y, tolerance, tolerance));
    torch::autograd::backward({(x * values).sum()});
    torch::autograd::backward({(y * values).sum()});
    EXPECT_TRUE(at::allclose(a.grad(), b.grad(), tolerance, tolerance));
  }
}

TEST(Dropout, AMaskFollowsItsSampleWhateverTheBatch) {
  const at::Tensor x = at::ones({4, 100});
  const at::Tensor all = dropout(x, 0.5, key, std::vector<int64_t>{10, 11, 12, 13});
  const at::Tensor last = dropout(x.narrow(0, 0, 2), 0.5, key, std::vector<int64_t>{12, 13});
  EXPECT_TRUE(at::equal(all.narrow(0, 2, 2), last));
  EXPECT_FALSE(at::equal(all[0], all[1]));
}

TEST(Dropout, KeysAndSitesHaveTheirOwnMasks) {
  const at::Tensor x = at::ones({1, 1000});
  const std::vector<int64_t> samples = {0};
  const at::Tensor a = dropout(x, 0.5, key, samples, "a");
  EXPECT_TRUE(at::equal(a, dropout(x, 0.5, key, samples, "a")));
  EXPECT_FALSE(at::equal(a, dropout(x, 0.5, key, samples, "b")));
  EXPECT_FALSE(at::equal(a, dropout(x, 0.5, core::RandomKey(6), samples, "a")));
}

TEST(Dropout, KeepsTheMeanAndTheRate) {
  for (const double p : {0.1, 0.5, 0.9}) {
    const at::Tensor y =
        dropout(at::ones({8, 20000}), p, key, std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7});
    EXPECT_NEAR((y == 0).to(at::kDouble).mean().item<double>(), p, 0.005);
    EXPECT_NEAR(y.to(at::kDouble).mean().item<double>(), 1.0, 0.03);
  }
}

TEST(Dropout, NeighboursAndSamplesAreUncorrelated) {
  const int64_t n = 100000;
  const at::Tensor y =
      (dropout(at::ones({2, n}), 0.5, key, std::vector<int64_t>{0, 1}) == 0).to(at::kDouble) - 0.5;
  const double limit = 4 * 0.25 / std::sqrt(static_cast<double>(n));  // four standard deviations
  for (const int64_t lag : {1, 2, 8, 64, 1024}) {
    const auto product = y[0].narrow(0, 0, n - lag) * y[0].narrow(0, lag, n - lag);
    EXPECT_LT(std::abs(product.mean().item<double>()), limit) << lag;
  }
  EXPECT_LT(std::abs((y[0] * y[1]).mean().item<double>()), limit);
}

TEST(Dropout, ZeroProbabilityAndEmptyBatches) {
  const at::Tensor x = at::ones({1, 3});
  EXPECT_TRUE(dropout(x, 0.0, key, std::vector<int64_t>{0}).is_same(x));
  at::Tensor none = at::ones({0, 3}).requires_grad_(true);
  const at::Tensor y = dropout(none, 0.5, key, std::vector<int64_t>{});
  torch::autograd::backward({y.sum()});
  EXPECT_EQ(none.grad().sizes(), at::IntArrayRef({0, 3}));
}

TEST(Dropout, WrongUseIsABug) {
  const at::Tensor x = at::ones({2, 3});
  EXPECT_ANY_THROW((void)dropout(x, 0.5, key, std::vector<int64_t>{0}));
  EXPECT_ANY_THROW((void)dropout(x, 1.0, key, std::vector<int64_t>{0, 1}));
  EXPECT_ANY_THROW((void)dropout(x, -0.1, key, std::vector<int64_t>{0, 1}));
}

TEST(DropoutHash, EveryBitIsBalanced) {
  const DropoutHash hash(0x123456789abcdefULL);
  std::vector<int> ones(32);
  const int n = 1 << 16;
  for (uint32_t i = 0; i < n; ++i)
    for (size_t bit = 0; bit < 32; ++bit) ones[bit] += static_cast<int>(hash(i) >> bit & 1U);
  for (const int count : ones) EXPECT_NEAR(count, n / 2, 4 * 128);
}

}  // namespace
}  // namespace trireme::ops

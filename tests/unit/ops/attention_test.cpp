#include <trireme/ops/attention.h>

#include "ops/reference.h"

#include <utility>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

struct Result {
  at::Tensor y, dx;
};

// Weighted so that the gradient is not the same everywhere.
template <class Attention>
Result run(Attention attention, const at::Tensor& qkv, const at::Tensor& weights) {
  const at::Tensor x = qkv.detach().clone().requires_grad_(true);
  const at::Tensor y = attention(x);
  torch::autograd::backward({(y * weights).sum()});
  return {y.detach(), x.grad()};
}

void expect_reference(const at::Tensor& qkv, int64_t heads, double tolerance) {
  const auto doubles = at::TensorOptions(at::kDouble);
  const at::Tensor weights = at::randn({qkv.size(0), qkv.size(1), qkv.size(2) / 3}, doubles);
  const Result ours = run([&](const at::Tensor& x) { return causal_attention(x, heads); }, qkv,
                          weights.to(qkv.scalar_type()));
  const Result theirs =
      run([&](const at::Tensor& x) { return reference::causal_attention(x, heads); },
          qkv.to(at::kDouble), weights);
  EXPECT_EQ(ours.y.scalar_type(), qkv.scalar_type());
  for (const auto& [a, b] : {std::pair(ours.y, theirs.y), {ours.dx, theirs.dx}})
    EXPECT_TRUE(at::allclose(a.to(at::kDouble), b, tolerance, tolerance)) << qkv.sizes();
}

TEST(CausalAttention, AgreesWithTheReferenceInDoublePrecision) {
  at::manual_seed(1);
  for (const int64_t length : {1, 2, 31, 32, 33, 70, 256, 257})
    expect_reference(at::randn({2, length, 3 * 3 * 8}), 3, 1e-5);
  expect_reference(at::randn({1, 40, 3 * 4}), 4, 1e-5);
  expect_reference(at::randn({3, 20, 3 * 16}) * 30, 1, 1e-4);  // nearly all on one token
}

TEST(CausalAttention, OtherTypesAndStrides) {
  at::manual_seed(1);
  const at::Tensor qkv = at::randn({2, 24, 24});
  expect_reference(qkv.to(at::kDouble), 2, 1e-12);
  expect_reference(qkv.to(at::kBFloat16), 2, 3e-2);
  const at::Tensor turned = qkv.transpose(1, 2).contiguous().transpose(1, 2);
  EXPECT_TRUE(at::equal(causal_attention(turned, 2), causal_attention(qkv, 2)));
}

TEST(CausalAttention, AnEmptyBatchHasAGradient) {
  const at::Tensor x = at::empty({0, 5, 12}).requires_grad_(true);
  const at::Tensor y = causal_attention(x, 2);
  EXPECT_EQ(y.sizes(), (at::IntArrayRef{0, 5, 4}));
  torch::autograd::backward({y.sum()});
  EXPECT_EQ(x.grad().sizes(), x.sizes());
}

TEST(CausalAttention, SamplesAndLaterTokensDoNotMatter) {
  at::manual_seed(1);
  const at::Tensor qkv = at::randn({3, 40, 24});
  const at::Tensor whole = causal_attention(qkv, 2);
  EXPECT_TRUE(at::equal(causal_attention(qkv.narrow(0, 1, 1), 2), whole.narrow(0, 1, 1)));
  at::Tensor other = qkv.clone();
  other.narrow(1, 17, 23).fill_(1e3);
  EXPECT_TRUE(at::equal(causal_attention(other, 2).narrow(1, 0, 17), whole.narrow(1, 0, 17)));
}

}  // namespace
}  // namespace trireme::ops

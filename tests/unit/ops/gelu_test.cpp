#include <trireme/ops/gelu.h>

#include "ops/gelu_kernel.h"
#include "ops/simd.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

TEST(Gelu, ValueAndGradientAreThoseOfATenInDoublePrecision) {
  at::manual_seed(1);
  for (const int64_t n : {0, 1, 31, 32, 33, 1000}) {
    const at::Tensor values = at::randn({n}) * 3, weights = at::randn({n});
    at::Tensor x = values.clone().requires_grad_(true);
    at::Tensor exact = values.to(at::kDouble).requires_grad_(true);
    const at::Tensor y = gelu_tanh(x), z = at::gelu(exact, "tanh");
    EXPECT_TRUE(at::allclose(y.to(at::kDouble), z, 1e-6, 1e-6));
    torch::autograd::backward({(y * weights).sum()});
    torch::autograd::backward({(z * weights).sum()});
    EXPECT_TRUE(at::allclose(x.grad().to(at::kDouble), exact.grad(), 1e-5, 1e-5)) << n;
  }
}

TEST(Gelu, OtherTypesAndStrides) {
  at::manual_seed(1);
  const at::Tensor values = at::randn({6, 50});
  for (const auto type : {at::kDouble, at::kBFloat16, at::kHalf}) {
    at::Tensor x = values.to(type).requires_grad_(true);
    const at::Tensor expected = gelu_tanh(x.detach().to(at::kFloat)).to(type);
    const at::Tensor y = gelu_tanh(x);
    EXPECT_EQ(y.scalar_type(), type);
    EXPECT_TRUE(at::allclose(y, expected, 1e-6, 1e-6));
    torch::autograd::backward({y.sum()});
    EXPECT_EQ(x.grad().scalar_type(), type);
  }
  EXPECT_TRUE(at::equal(gelu_tanh(values.t()), gelu_tanh(values).t()));
}

TEST(Gelu, FarFromZero) {
  const float huge = 1e4F;
  at::Tensor x = at::tensor({huge, -huge, 20.0F, -20.0F}).requires_grad_(true);
  const at::Tensor y = gelu_tanh(x);
  torch::autograd::backward({y.sum()});
  EXPECT_TRUE(at::allclose(y, at::tensor({huge, 0.0F, 20.0F, 0.0F})));
  EXPECT_TRUE(at::allclose(x.grad(), at::tensor({1.0F, 0.0F, 1.0F, 0.0F})));
  EXPECT_TRUE(
      std::isnan(gelu_tanh(at::tensor({std::numeric_limits<float>::quiet_NaN()})).item<float>()));
}

TEST(Gelu, WideAndNarrowVectorsGiveEqualBits) {
  if (!simd::has_avx512()) return;  // only one of the two exists here
  at::manual_seed(1);
  const at::Tensor x = at::randn({1003}), dy = at::randn({1003});
  const auto run = [&](bool wide) {
    at::Tensor y = at::empty_like(x), dx = at::empty_like(x);
    GeluKernel<float>::forward(x.const_data_ptr<float>(), y.mutable_data_ptr<float>(), 1003, wide);
    GeluKernel<float>::backward(x.const_data_ptr<float>(), dy.const_data_ptr<float>(),
                                dx.mutable_data_ptr<float>(), 1003, wide);
    return at::stack({y, dx});
  };
  EXPECT_TRUE(at::equal(run(false), run(true)));
}

}  // namespace
}  // namespace trireme::ops

#include <trireme/ops/bias.h>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

TEST(AddBias, ValueAndGradientsAreThoseOfATen) {
  at::manual_seed(1);
  const auto expect = [](const at::Tensor& residual, const at::Tensor& x, const at::Tensor& bias,
                         double tolerance) {
    const auto leaf = [](const at::Tensor& t) {
      return t.detach().clone().requires_grad_(true);
    };
    const at::Tensor ours[] = {leaf(residual), leaf(x), leaf(bias)};
    const at::Tensor plain[] = {leaf(residual.to(at::kDouble)), leaf(x.to(at::kDouble)),
                                leaf(bias.to(at::kDouble))};
    const at::Tensor y = add_bias(ours[0], ours[1], ours[2]), z = plain[0] + plain[1] + plain[2];
    const at::Tensor weights = at::randn_like(z);
    torch::autograd::backward({(y * weights).sum()});
    torch::autograd::backward({(z * weights).sum()});
    EXPECT_EQ(y.scalar_type(), at::result_type(residual, x));
    EXPECT_TRUE(at::allclose(y.to(at::kDouble), z, tolerance, tolerance)) << x.sizes();
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(ours[i].grad().scalar_type(), ours[i].scalar_type());
      EXPECT_TRUE(
          at::allclose(ours[i].grad().to(at::kDouble), plain[i].grad(), tolerance, tolerance))
          << x.sizes() << " " << i;
    }
  };
  for (const int64_t columns : {1, 7, 64, 1000})
    expect(at::randn({3, 5, columns}), at::randn({3, 5, columns}), at::randn({columns}), 1e-5);
  expect(at::randn({0, 4}), at::randn({0, 4}), at::randn({4}), 1e-5);
  expect(at::randn({6, 4}), at::randn({4, 6}).t(), at::randn({4}), 1e-5);
  expect(at::randn({6, 4}), at::randn({6, 4}).to(at::kBFloat16), at::randn({4}), 5e-2);
  const auto doubles = at::TensorOptions(at::kDouble);
  expect(at::randn({6, 4}, doubles), at::randn({6, 4}, doubles), at::randn({4}, doubles), 1e-12);
}

}  // namespace
}  // namespace trireme::ops

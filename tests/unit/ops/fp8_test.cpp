#include <trireme/core/error.h>
#include <trireme/ops/fp8.h>

#include <limits>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

struct Result {
  at::Tensor y, dx, dw, db;
};

template <class Linear>
Result run(Linear linear_of, const at::Tensor& x, const at::Tensor& w, const at::Tensor& b, WeightLayout layout) {
  const at::Tensor xl = x.detach().clone().requires_grad_(true), wl = w.detach().clone().requires_grad_(true);
  const at::Tensor bl = b.detach().clone().requires_grad_(true);
  const at::Tensor y = linear_of(xl, wl, bl, layout);
  const at::Tensor weights = at::arange(y.numel(), at::TensorOptions(at::kFloat)).sin().view(y.sizes()).to(y.scalar_type());
  torch::autograd::backward({(y * weights).sum()});
  return {y.detach(), xl.grad(), wl.grad(), bl.grad()};
}

// Of a whole tensor: e4m3 keeps 3 bits after the leading one and e5m2 2, so products of them are off by up to 6 and 12 %, sums
// of many by less.
void expect_within(const at::Tensor& ours, const at::Tensor& theirs, double relative) {
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  const at::Tensor a = ours.to(at::kDouble), b = theirs.to(at::kDouble);
  EXPECT_LT((a - b).norm().item<double>(), relative * b.norm().item<double>());
}

TEST(LinearFp8, AgreesWithFloat32AsFarAs8BitsGo) {
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const WeightLayout layout : {WeightLayout::in_out, WeightLayout::out_in})
      for (const int64_t tokens : {16, 5, 40})
        for (const double size : {1.0, 1e-6, 1e5}) {
          const at::Tensor x = (at::randn({2, tokens, 32}) * size).to(type);
          at::Tensor w = at::randn({32, 48}).to(type);
          if (layout == WeightLayout::out_in) w = w.t().contiguous();
          const at::Tensor b = (at::randn({48}) * size).to(type);
          const Result ours = run(linear_fp8, x, w, b, layout);
          const Result theirs = run(linear, x.to(at::kFloat), w.to(at::kFloat), b.to(at::kFloat), layout);
          EXPECT_EQ(ours.y.scalar_type(), type);
          expect_within(ours.y, theirs.y, 0.06);
          expect_within(ours.dx, theirs.dx, 0.12);
          expect_within(ours.dw, theirs.dw, 0.12);
          expect_within(ours.db, theirs.db, 0.02);
        }
}

TEST(LinearFp8, TheLargestElementsFit) {
  const at::Tensor w = at::eye(16);
  for (const float top : {448.0F, 449.0F, 57344.0F, 65536.0F, 1.7e-20F, 3.3e30F}) {
    const at::Tensor x = at::full({1, 16}, top);
    expect_within(linear_fp8(x, w, {}, WeightLayout::in_out), x, 0.07);
  }
  EXPECT_TRUE(at::equal(linear_fp8(at::zeros({2, 16}), w, {}, WeightLayout::in_out), at::zeros({2, 16})));
}

TEST(LinearFp8, WhatIsNotFiniteShows) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    at::Tensor x = at::ones({3, 16});
    x.index_put_({at::tensor(1), at::tensor(2)}, at::scalar_tensor(bad));
    EXPECT_FALSE(linear_fp8(x, at::eye(16), {}, WeightLayout::in_out).isfinite().all().item<bool>());
  }
}

TEST(LinearFp8, NoRowsNoResult) {
  const at::Tensor y = linear_fp8(at::empty({0, 16}), at::ones({16, 32}), at::ones({32}), WeightLayout::in_out);
  EXPECT_EQ(y.sizes(), (at::IntArrayRef{0, 32}));
}

TEST(LinearFp8, OddWidthsAreRefused) {
  for (const auto& sides : {std::vector<int64_t>{24, 16}, {16, 24}}) try {
      (void)linear_fp8(at::ones({2, sides[0]}), at::ones(sides), {}, WeightLayout::in_out);
      ADD_FAILURE() << "accepted";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::configuration);
      EXPECT_NE(std::string(e.what()).find("24"), std::string::npos);
    }
}

}  // namespace
}  // namespace trireme::ops

#include <trireme/ops/linear.h>

#include "support/kernel_implementations.h"
#include "support/weighted_results.h"

#include <memory>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

class Linear : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }
  std::shared_ptr<void> opened_;
};

// Of x [.., I], W [I, O] and b, by plain operations.
at::Tensor plain(const Tensors& in) {
  const at::Tensor y = at::matmul(in[0], in[1]);
  return in[2].defined() ? y + in[2] : y;
}

TEST_P(Linear, AgreesWithPlainOperationsInDoublePrecision) {
  for (const at::ScalarType type : types)
    for (const auto& sizes : {std::vector<int64_t>{6, 24}, {2, 3, 24}, {1, 24}, {0, 24}, {33, 24}})
      for (const bool biased : {true, false}) {
        const Tensors in = {at::randn(sizes), at::randn({24, 40}), biased ? at::randn({40}) : at::Tensor()};
        const Tensors rounded = copies(copies(in, at::kCPU, type), at::kCPU, at::kDouble);
        const Tensors expected = results(plain, rounded);
        expect_close(results([](const Tensors& t) { return linear(t[0], t[1], t[2], WeightLayout::in_out); },
                             copies(in, GetParam().device, type)),
                     expected, tolerance_of(type));
        Tensors other = copies(in, GetParam().device, type);
        other[1] = other[1].t().contiguous();
        Tensors got =
            results([](const Tensors& t) { return linear(t[0], t[1], t[2], WeightLayout::out_in); }, other);
        got[2] = got[2].t();
        expect_close(got, expected, tolerance_of(type));
      }
}

TEST_P(Linear, ComputesOnlyTheGradientsThatAreWanted) {
  const c10::Device device = GetParam().device;
  const at::Tensor x = at::randn({5, 16}).to(device), w = at::randn({16, 8}).to(device).requires_grad_(true);
  const at::Tensor b = at::randn({8}).to(device);
  torch::autograd::backward({linear(x, w, b, WeightLayout::in_out).sum()});
  EXPECT_FALSE(x.grad().defined());
  EXPECT_FALSE(b.grad().defined());
  expect_close({w.grad()}, {x.sum(0).unsqueeze(1).expand({16, 8})}, 1e-5);
  EXPECT_FALSE(linear(x, w.detach(), b, WeightLayout::in_out).requires_grad());
}

TEST_P(Linear, TakesWhatIsNotDense) {
  const c10::Device device = GetParam().device;
  const at::Tensor x = at::randn({16, 5}), w = at::randn({8, 16});
  const at::Tensor y = linear(x.to(device).t(), w.to(device).t(), {}, WeightLayout::in_out);
  expect_close({y}, {at::mm(x.t(), w.t())}, 1e-5);
}

at::Tensor plain_mlp(const Tensors& in) {
  return at::matmul(at::gelu(at::matmul(in[0], in[1]) + in[2], "tanh"), in[3]);
}

TEST_P(Linear, AnMlpAgreesWithPlainOperationsInDoublePrecision) {
  for (const at::ScalarType type : types)
    for (const int64_t inner : {48, 50})  // of 50 an epilogue with gelu is refused
      for (const auto& sizes : {std::vector<int64_t>{6, 24}, {2, 3, 24}, {0, 24}}) {
        const Tensors in = {at::randn(sizes), at::randn({24, inner}), at::randn({inner}), at::randn({inner, 16})};
        const Tensors expected = results(plain_mlp, copies(copies(in, at::kCPU, type), at::kCPU, at::kDouble));
        for (const bool recompute : {false, true}) {
          expect_close(results(
                           [&](const Tensors& t) {
                             return mlp_gelu(t[0], t[1], t[2], t[3], WeightLayout::in_out, recompute);
                           },
                           copies(in, GetParam().device, type)),
                       expected, tolerance_of(type));
          Tensors other = copies(in, GetParam().device, type);
          for (const size_t weight : {1, 3}) other[weight] = other[weight].t().contiguous();
          Tensors got = results(
              [&](const Tensors& t) { return mlp_gelu(t[0], t[1], t[2], t[3], WeightLayout::out_in, recompute); }, other);
          for (const size_t weight : {2, 4}) got[weight] = got[weight].t();
          expect_close(got, expected, tolerance_of(type));
        }
      }
}

TEST_P(Linear, RecomputingTheActivationChangesNothing) {
  for (const at::ScalarType type : types) {
    const Tensors in =
        copies({at::randn({6, 24}), at::randn({24, 48}), at::randn({48}), at::randn({48, 16})}, GetParam().device, type);
    const auto with = [&](bool recompute) {
      return results([&](const Tensors& t) { return mlp_gelu(t[0], t[1], t[2], t[3], WeightLayout::in_out, recompute); }, in);
    };
    const Tensors kept = with(false), again = with(true);
    // A fused epilogue may apply gelu before it rounds what it was applied to: the second weight's gradient is of the other.
    constexpr size_t of_second_weight = 4;
    for (size_t i = 0; i < kept.size(); ++i)
      if (i == of_second_weight && GetParam().device.is_cuda() && type != at::kFloat)
        expect_close({kept[i]}, {again[i].to(at::kDouble)}, tolerance_of(type));
      else
        EXPECT_TRUE(at::equal(kept[i].cpu(), again[i].cpu())) << i;
  }
}

TEST_P(Linear, DoublesAreDoneByAten) {
  const c10::Device device = GetParam().device;
  if (!device.is_cpu()) GTEST_SKIP() << "devices need not compute in float64";
  const Tensors in = copies({at::randn({3, 4}), at::randn({4, 5}), at::randn({5})}, device, at::kDouble);
  expect_close(results([](const Tensors& t) { return linear(t[0], t[1], t[2], WeightLayout::in_out); }, in), results(plain, in),
               1e-12);
}

INSTANTIATE_TEST_SUITE_P(Kernels, Linear, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

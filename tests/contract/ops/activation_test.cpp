#include <trireme/ops/gelu.h>
#include <trireme/ops/swiglu.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

double tolerance_of(at::ScalarType type) { return type == at::kFloat ? 2e-6 : type == at::kHalf ? 2e-3 : 1e-2; }

class Activations : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  // Both of the same values, in every type; `arguments` of one shape.
  void expect_agreement(const Operation& ours, const Operation& exact, int64_t arguments, at::IntArrayRef sizes) const {
    for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
      Tensors in, given = {at::randn(sizes).to(type)};
      for (int64_t i = 0; i < arguments; ++i) in.push_back((at::randn(sizes) * 3).to(type));
      const Tensors theirs = results_and_gradients(exact, copies(in, at::kCPU, at::kDouble), copies(given, at::kCPU, at::kDouble));
      for (const bool aligned : {true, false}) {
        Tensors there = copies(in, GetParam().device, type), given_there = copies(given, GetParam().device, type);
        if (!aligned)
          for (Tensors* all : {&there, &given_there})
            for (at::Tensor& t : *all) t = misaligned(t);
        const Tensors got = results_and_gradients(ours, there, given_there);
        for (const at::Tensor& t : got) EXPECT_EQ(t.scalar_type(), type);
        expect_close(got, theirs, tolerance_of(type));
      }
    }
  }

  const Operation gelu = [](const Tensors& in) { return Tensors{gelu_tanh(in[0])}; };
  const Operation plain_gelu = [](const Tensors& in) { return Tensors{at::gelu(in[0], "tanh")}; };
  const Operation gated = [](const Tensors& in) { return Tensors{swiglu(in[0], in[1])}; };
  const Operation plain_gated = [](const Tensors& in) { return Tensors{reference::swiglu(in[0], in[1])}; };

 private:
  std::shared_ptr<void> opened_;
};

TEST_P(Activations, AgreeWithATenInDoublePrecision) {
  for (const int64_t n : {0, 1, 7, 8, 9, 33, 1000, 20003}) {
    expect_agreement(gelu, plain_gelu, 1, {n});
    expect_agreement(gated, plain_gated, 2, {n});
  }
  expect_agreement(gelu, plain_gelu, 1, {3, 5, 8});
  expect_agreement(gated, plain_gated, 2, {2, 0, 8});
}

TEST_P(Activations, TakeAnyStrides) {
  const at::Tensor x = at::randn({6, 10}).to(GetParam().device), y = at::randn({6, 10}).to(GetParam().device);
  EXPECT_TRUE(at::equal(gelu_tanh(x.t()), gelu_tanh(x).t()));
  EXPECT_TRUE(at::equal(swiglu(x.t(), y.t()), swiglu(x, y).t()));
}

TEST_P(Activations, FarFromZero) {
  const float huge = 1e4F, nan = std::numeric_limits<float>::quiet_NaN();
  const auto there = [](std::vector<float> values) { return at::tensor(values).to(GetParam().device); };
  const Tensors far = results_and_gradients(gelu, {there({huge, -huge, 20.0F, -20.0F})}, {at::ones({4})});
  expect_close(far, {at::tensor({huge, 0.0F, 20.0F, 0.0F}), at::tensor({1.0F, 0.0F, 1.0F, 0.0F})}, 1e-6);
  EXPECT_TRUE(std::isnan(gelu_tanh(there({nan})).item<float>()));
  const Tensors gate = results_and_gradients(gated, {there({huge, -huge}), there({2.0F, 2.0F})}, {at::ones({2})});
  expect_close(gate, {at::tensor({2 * huge, 0.0F}), at::tensor({2.0F, 0.0F}), at::tensor({huge, 0.0F})}, 1e-6);
  EXPECT_TRUE(std::isnan(swiglu(there({nan}), there({1.0F})).item<float>()));
}

INSTANTIATE_TEST_SUITE_P(Ops, Activations, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

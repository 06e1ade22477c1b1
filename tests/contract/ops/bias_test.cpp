#include <trireme/ops/bias.h>

#include "ops/kernels.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <memory>

namespace trireme::ops {
namespace {

double tolerance_of(at::ScalarType type) { return type == at::kFloat ? 5e-6 : type == at::kHalf ? 4e-3 : 3e-2; }

class Bias : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }
  std::shared_ptr<void> opened_;
};

const Operation added = [](const Tensors& in) { return Tensors{add_bias(in[0], in[1], in[2])}; };
const Operation plain = [](const Tensors& in) { return Tensors{in[0] + in[1] + in[2]}; };

TEST_P(Bias, ValueAndGradientsAreThoseOfATenInDoublePrecision) {
  struct Types {
    at::ScalarType residual, x, bias;
  };
  const Types all_types[] = {{at::kFloat, at::kFloat, at::kFloat},          {at::kBFloat16, at::kBFloat16, at::kBFloat16},
                             {at::kHalf, at::kHalf, at::kHalf},             {at::kFloat, at::kBFloat16, at::kFloat},
                             {at::kFloat, at::kHalf, at::kHalf},            {at::kBFloat16, at::kFloat, at::kFloat},
                             {at::kBFloat16, at::kBFloat16, at::kFloat}};
  const at::DimVector all_sizes[] = {{3, 5, 1}, {3, 5, 7}, {2, 9, 64}, {5, 1000}, {700, 24}, {0, 8}};
  for (const Types& types : all_types)
    for (const at::DimVector& sizes : all_sizes) {
      const Tensors in = {at::randn(sizes).to(types.residual), at::randn(sizes).to(types.x), at::randn({sizes.back()}).to(types.bias)};
      const auto type = at::result_type(in[0], in[1]);
      const Tensors given = {at::randn(sizes).to(type)};
      const Tensors exact = results_and_gradients(plain, copies(in, at::kCPU, at::kDouble), copies(given, at::kCPU, at::kDouble));
      for (const bool aligned : {true, false}) {
        Tensors there;
        for (const at::Tensor& t : in) there.push_back(aligned ? t.to(GetParam().device) : misaligned(t.to(GetParam().device)));
        const Tensors got = results_and_gradients(added, there, {given[0].to(GetParam().device)});
        EXPECT_EQ(got[0].scalar_type(), type);
        for (size_t i = 0; i < 3; ++i) EXPECT_EQ(got[i + 1].scalar_type(), in[i].scalar_type());
        const auto lowest = types.residual == at::kFloat ? types.x : types.residual;
        expect_close(got, exact, tolerance_of(types.bias == at::kFloat ? lowest : types.bias));
      }
    }
}

TEST_P(Bias, TakesAnyStrides) {
  const auto of = [](at::IntArrayRef sizes) { return at::randn(sizes).to(GetParam().device); };
  const at::Tensor residual = of({6, 4}), x = of({4, 6}), bias = of({8});
  EXPECT_TRUE(at::allclose(add_bias(residual, x.t(), bias.slice(0, 0, 8, 2)), residual + x.t() + bias.slice(0, 0, 8, 2)));
}

TEST_P(Bias, ColumnSumsAreOfTheTypeAsked) {
  if (!GetParam().kernels) return;  // only kernels have this operation
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const at::DimVector& sizes : {at::DimVector{0, 8}, {1, 1}, {1000, 3}, {65, 256}, {2000, 264}}) {
      const at::Tensor dy = at::randn(sizes).to(type);
      const at::Tensor exact = dy.to(at::kDouble).sum(0);
      for (const auto sum_type : {at::kFloat, at::kBFloat16}) {
        const at::Tensor there = dy.to(GetParam().device);
        const Tensors sums = {kernels_for(there)->column_sums(there, sum_type), kernels_for(there)->column_sums(misaligned(there), sum_type)};
        for (const at::Tensor& sum : sums) EXPECT_EQ(sum.scalar_type(), sum_type);
        expect_close(sums, {exact, exact}, tolerance_of(sum_type));
      }
    }
}

INSTANTIATE_TEST_SUITE_P(Ops, Bias, testing::ValuesIn(kernel_implementations()), [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

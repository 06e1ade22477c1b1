#include <trireme/ops/norm.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

constexpr double epsilon = 1e-5;

class Norms : public testing::TestWithParam<KernelImplementation> {
 protected:
  struct Case {
    std::vector<int64_t> sizes;
    bool rms = false, residual = true, bias = true, of_y = true, of_sum = true;
  };

  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  [[nodiscard]] std::vector<at::ScalarType> types() const {
    std::vector<at::ScalarType> all = {at::kFloat, at::kBFloat16, at::kHalf};
    if (!GetParam().kernels) all.push_back(at::kDouble);
    return all;
  }

  // ATen's code for the CPU adds up gradients of weights in their own type.
  [[nodiscard]] double tolerance_of(at::ScalarType type) const {
    if (type == at::kDouble) return 1e-12;
    if (type == at::kFloat) return 2e-5;
    return type == at::kBFloat16 ? 3e-2 : GetParam().kernels ? 4e-3 : 1e-2;
  }

  static Operation operation(bool rms) {
    return [rms](const Tensors& in) {
      const Normed made = rms ? rms_norm(in[0], in[1], in[2], epsilon) : layer_norm(in[0], in[1], in[2], in[3], epsilon);
      return Tensors{made.y, made.sum};
    };
  }
  static Operation plain(bool rms) {
    return [rms](const Tensors& in) {
      const Normed made =
          rms ? reference::rms_norm(in[0], in[1], in[2], epsilon) : reference::layer_norm(in[0], in[1], in[2], in[3], epsilon);
      return Tensors{made.y, made.sum};
    };
  }

  static Tensors inputs(const Case& c) {
    const int64_t columns = c.sizes.back();
    return {at::randn(c.sizes) + 0.5, c.residual ? at::randn(c.sizes) : at::Tensor(), at::randn({columns}) + 1,
            c.bias && !c.rms ? at::randn({columns}) : at::Tensor()};
  }
  static Tensors given(const Case& c) {
    return {c.of_y ? at::randn(c.sizes) : at::Tensor(), c.of_sum ? at::randn(c.sizes) : at::Tensor()};
  }

  void expect_agreement(const Case& c, at::ScalarType type,
                        const std::function<at::Tensor(const at::Tensor&)>& view = {}) const {
    SCOPED_TRACE(testing::Message() << "sizes " << at::IntArrayRef(c.sizes) << (c.rms ? " rms" : " layer")
                                    << (c.residual ? ", residual" : "") << (c.bias ? ", bias" : ""));
    const Tensors in = copies(inputs(c), at::kCPU, type), gradients = copies(given(c), at::kCPU, type);
    const Tensors exact =
        results_and_gradients(plain(c.rms), copies(in, at::kCPU, at::kDouble), copies(gradients, at::kCPU, at::kDouble));
    Tensors on_device = copies(in, GetParam().device, type), given_there = copies(gradients, GetParam().device, type);
    if (view)
      for (Tensors* all : {&on_device, &given_there})
        for (at::Tensor& t : *all)
          if (t.defined()) t = view(t);
    const Tensors ours = results_and_gradients(operation(c.rms), on_device, given_there);
    for (const at::Tensor& t : ours) EXPECT_EQ(t.defined() ? t.scalar_type() : type, type);
    expect_close(ours, exact, tolerance_of(type));
  }

 private:
  std::shared_ptr<void> opened_;
};

TEST_P(Norms, AgreeWithDoublePrecisionForRowsOfAllLengths) {
  for (const at::ScalarType type : types())
    for (const int64_t columns : {1, 8, 33, 256, 500, 768, 1000, 1536, 2048, 3072, 4096, 5000, 6144, 8192, 8200})
      for (const bool rms : {false, true}) {
        // The weight's gradient is nothing then, but for the rounding errors of ATen's code for the CPU.
        if (columns == 1 && !GetParam().kernels) continue;
        expect_agreement({.sizes = {5, columns}, .rms = rms}, type);
      }
}

TEST_P(Norms, AgreeWithDoublePrecisionForManyRowsAndNone) {
  for (const at::ScalarType type : types())
    for (const bool rms : {false, true}) {
      for (const int64_t columns : {24, 33, 1536}) expect_agreement({.sizes = {7, 30, columns}, .rms = rms}, type);
      expect_agreement({.sizes = {16}, .rms = rms}, type);
      expect_agreement({.sizes = {2, 0, 16}, .rms = rms}, type);
      expect_agreement({.sizes = {0, 33}, .rms = rms}, type);
    }
}

TEST_P(Norms, ResidualBiasAndEitherGradientMayBeMissing) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
    for (const int64_t columns : {9, 64})
      for (int missing = 0; missing < 32; ++missing)
        if ((missing & 12) != 12)
          expect_agreement({.sizes = {6, columns},
                            .rms = (missing & 16) != 0,
                            .residual = (missing & 1) == 0,
                            .bias = (missing & 2) == 0,
                            .of_y = (missing & 4) == 0,
                            .of_sum = (missing & 8) == 0},
                           type);
}

TEST_P(Norms, TakeWhatIsNotAlignedAndWhatIsNotDense) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t columns : {64, 1536}) expect_agreement({.sizes = {6, columns}}, type, misaligned);
    expect_agreement({.sizes = {6, 8, 64}}, type,
                     [](const at::Tensor& t) { return t.dim() < 3 ? t : t.transpose(0, 1).contiguous().transpose(0, 1); });
  }
}

TEST_P(Norms, WithoutAResidualTheSumIsX) {
  const at::Tensor x = at::randn({3, 16}).to(GetParam().device), weight = at::ones({16}, x.options());
  const Normed made = layer_norm(x, {}, weight, {}, epsilon);
  EXPECT_TRUE(made.sum.is_alias_of(x));
  EXPECT_FALSE(made.y.requires_grad());
}

TEST_P(Norms, ADistantMeanLeavesTheDeviationsExact) {
  const at::Tensor x = at::randn({4, 768}) + 1000, weight = at::ones({768});
  for (const bool aligned : {true, false}) {
    const at::Tensor there = x.to(GetParam().device);
    const at::Tensor y = layer_norm(aligned ? there : misaligned(there), {}, weight.to(GetParam().device), {}, epsilon).y;
    expect_close({y}, {reference::layer_norm(x.to(at::kDouble), {}, weight, {}, epsilon).y}, 1e-4);
  }
}

TEST_P(Norms, WeightsMayBeFloat32AndTheResidualWider) {
  const Case c = {.sizes = {5, 64}};
  Tensors in = copies(inputs(c), GetParam().device, at::kFloat);
  in[0] = in[0].to(at::kBFloat16);
  const Tensors gradients = given(c);
  const auto run = [&](at::ScalarType residual) {
    Tensors of_this = in;
    of_this[1] = in[1].to(residual);
    return results_and_gradients(operation(false), of_this, gradients);
  };
  const Tensors exact =
      results_and_gradients(plain(false), copies(in, at::kCPU, at::kDouble), copies(gradients, at::kCPU, at::kDouble));
  const Tensors wide = run(at::kFloat), narrow = run(at::kBFloat16);
  expect_close(wide, exact, 5e-3);  // x's gradient is a bfloat16
  expect_close(narrow, exact, 3e-2);
  EXPECT_EQ(wide[0].scalar_type(), at::kFloat);
  EXPECT_EQ(wide[2].scalar_type(), at::kBFloat16);
  EXPECT_EQ(narrow[0].scalar_type(), at::kBFloat16);
  EXPECT_EQ(narrow[4].scalar_type(), at::kFloat);
}

TEST_P(Norms, OfFrozenWeightsOnlyTheInputGetsAGradient) {
  for (const bool rms : {false, true}) {
    const Case c = {.sizes = {5, 64}, .rms = rms};
    const Tensors in = copies(inputs(c), GetParam().device, at::kFloat);
    const at::Tensor dy = at::randn({5, 64}).to(GetParam().device);
    const auto gradient = [&](bool frozen) {
      at::Tensor x = in[0].clone().requires_grad_(true), weight = in[2].clone().requires_grad_(!frozen);
      torch::autograd::backward({operation(rms)({x, in[1], weight, in[3]})[0]}, {dy});
      EXPECT_EQ(weight.grad().defined(), !frozen);
      return x.grad();
    };
    EXPECT_TRUE(at::equal(gradient(true), gradient(false)));
  }
}

TEST_P(Norms, SameInputsGiveTheSameBits) {
  for (const int64_t columns : {33, 768}) {
    const Case c = {.sizes = {100, columns}};
    const Tensors in = copies(inputs(c), GetParam().device, at::kBFloat16), gradients = given(c);
    expect_equal_bits(results_and_gradients(operation(false), in, gradients),
                      results_and_gradients(operation(false), in, gradients));
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Norms, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

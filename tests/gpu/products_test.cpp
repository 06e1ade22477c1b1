// What cuBLASLt and LibTorch's attention do on a GPU, beyond the contract of the operations.
#include <trireme/ops/attention.h>
#include <trireme/ops/fp8.h>
#include <trireme/ops/linear.h>

#include "cuda/blas/blas_lt.h"
#include "gpu/device.h"
#include "ops/kernels.h"
#include "ops/reference.h"
#include "support/weighted_results.h"

#include <functional>
#include <string>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

class OnGpu : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu::is_there()) GTEST_SKIP() << "no GPU";
    at::manual_seed(1);
  }

  // Compared with `plain` in double precision on the CPU.
  static void expect_agreement(const std::function<at::Tensor(const Tensors&)>& fused, const std::function<at::Tensor(const Tensors&)>& plain,
                               const Tensors& in, at::ScalarType type, double tolerance) {
    expect_close(results(fused, copies(in, gpu::device(), type)), results(plain, copies(copies(in, at::kCPU, type), at::kCPU, at::kDouble)),
                 tolerance);
  }
};

at::Tensor plain_mlp(const Tensors& in) {
  return at::matmul(at::gelu(at::matmul(in[0], in[1]) + in[2], "tanh"), in[3]);
}
at::Tensor fused_mlp(const Tensors& in) { return mlp_gelu(in[0], in[1], in[2], in[3], WeightLayout::in_out); }

TEST_F(OnGpu, TimedPlansComputeTheSame) {
  // Those that serve backward too, which LibTorch runs on a thread of its own.
  Kernels& kernels = *registered_kernels(c10::kCUDA);
  const Tensors in = {at::randn({256, 128}), at::randn({128, 512}) / 10, at::randn({512}), at::randn({512, 64}) / 20};
  for (const bool timed : {false, true, true, false}) {
    kernels.set_autotune(timed);
    for (const at::ScalarType type : types) {
      expect_agreement(fused_mlp, plain_mlp, in, type, tolerance_of(type));
      expect_agreement([](const Tensors& t) { return linear(t[0], t[1], t[2], WeightLayout::in_out); },
                       [](const Tensors& t) { return at::matmul(t[0], t[1]) + t[2]; }, Tensors(in.begin(), in.begin() + 3), type,
                       tolerance_of(type));
    }
  }
}

// What is refused is done in two steps, which no result shows. The layouts are those of GPT-2 ([in, out]) and torch.nn.Linear.
TEST_F(OnGpu, EpiloguesAreFused) {
  constexpr int64_t rows = 256, in = 128, out = 512;
  cuda::BlasLt products;
  const auto of = [](at::IntArrayRef sizes) { return at::zeros(sizes, at::TensorOptions(gpu::device()).dtype(at::kBFloat16)); };
  const at::Tensor x = of({rows, in}), y = of({rows, out}), weight = of({in, out}), bias = of({out}), aux = of({rows, out});
  const auto fuses = [&](const cuda::Product& product, const at::Tensor& a, const at::Tensor& b, const at::Tensor& d) {
    return products.run(product, {a.data_ptr(), b.data_ptr(), d.data_ptr(), bias.data_ptr(), aux.data_ptr()});
  };
  for (const bool transposed : {false, true}) {
    const cuda::LinearShape shape{cuda::Element::bfloat16, false, rows, in, out, transposed};
    EXPECT_TRUE(fuses(linear_product(shape, cuda::Epilogue::bias), weight, x, y)) << transposed;
    EXPECT_TRUE(fuses(linear_product(shape, cuda::Epilogue::bias_gelu), weight, x, y)) << transposed;
    EXPECT_TRUE(fuses(input_gradient_product(shape, cuda::Epilogue::gelu_gradient), weight, y, x)) << transposed;
    EXPECT_TRUE(fuses(weight_gradient_product(shape, true), transposed ? x : y, transposed ? y : x, weight)) << transposed;
  }
}

TEST_F(OnGpu, PlansDoNotRememberAddresses) {
  const Tensors in = {at::randn({64, 32}), at::randn({32, 48}), at::randn({48}), at::randn({48, 16})};
  Tensors kept;
  for (int i = 0; i < 3; ++i) {
    expect_agreement(fused_mlp, plain_mlp, in, at::kBFloat16, 2e-2);
    kept.push_back(at::empty({1 << 20}, at::TensorOptions(gpu::device())));
  }
}

TEST_F(OnGpu, RowsThatAreNotAligned) {
  const auto shifted = [](const Tensors& in) {
    const at::Tensor w = at::cat({at::zeros({1}, in[1].options()), in[1].flatten()}).narrow(0, 1, in[1].numel()).view(in[1].sizes());
    return linear(in[0], w, in[2], WeightLayout::in_out);
  };
  const auto plain = [](const Tensors& in) { return at::matmul(in[0], in[1]) + in[2]; };
  for (const int64_t out : {40, 41})
    expect_agreement(shifted, plain, {at::randn({33, 24}), at::randn({24, out}), at::randn({out})}, at::kBFloat16, 2e-2);
}

TEST_F(OnGpu, TheSameBitsEachTime) {
  const Tensors in = copies({at::randn({4096, 64}), at::randn({64, 64}), at::randn({64}), at::randn({64, 64})}, gpu::device(), at::kBFloat16);
  const Tensors first = results(fused_mlp, in);
  for (int i = 0; i < 5; ++i) {
    const Tensors again = results(fused_mlp, in);
    for (size_t k = 0; k < first.size(); ++k) EXPECT_TRUE(at::equal(first[k], again[k])) << k;
  }
}

TEST_F(OnGpu, AttentionAgreesWithTheReference) {
  for (const bool timed : {false, true}) {
    set_attention_autotune(timed);
    for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf})
      for (const int64_t length : {1, 64, 100, 257})
        for (const int64_t width : {16, 20, 64, 128}) {
          // A batch of its own for each setting: kernels are remembered by shape.
          const Tensors in = {at::randn({timed ? 2 : 3, length, 3 * 2 * width})};
          expect_agreement([](const Tensors& t) { return causal_attention(t[0], 2); },
                           [](const Tensors& t) { return reference::causal_attention(t[0], 2); }, in, type,
                           type == at::kFloat ? 1e-4 : 3e-2);
        }
  }
  set_attention_autotune(false);
}

TEST_F(OnGpu, Fp8AgreesWithPlainProducts) {
  const std::string capability = device::backend_of(c10::kCUDA)->devices().at(0).capability;
  if (capability < "8.9" && capability.size() == 3) GTEST_SKIP() << "no 8-bit products on compute capability " << capability;
  for (const WeightLayout layout : {WeightLayout::in_out, WeightLayout::out_in})
    for (const int64_t rows : {64, 37}) {
      const bool out_in = layout == WeightLayout::out_in;
      const Tensors in = {at::randn({rows, 64}), out_in ? at::randn({96, 64}) : at::randn({64, 96}), at::randn({96})};
      expect_agreement([&](const Tensors& t) { return linear_fp8(t[0], t[1], t[2], layout); },
                       [&](const Tensors& t) { return at::matmul(t[0], out_in ? t[1].t() : t[1]) + t[2]; }, in, at::kBFloat16, 0.1);
    }
}

}  // namespace
}  // namespace trireme::ops

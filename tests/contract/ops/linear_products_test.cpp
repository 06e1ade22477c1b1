#include <trireme/ops/linear.h>

#include "cuda/blas/product.h"
#include "support/emulated_kernels.h"
#include "support/weighted_results.h"

#include <set>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::ops {
namespace {

using cuda::Element;
using cuda::Epilogue;

// Of x [.., I], W [I, O] and b, by plain operations.
at::Tensor plain(const Tensors& in) { return at::matmul(in[0], in[1]) + in[2]; }
at::Tensor plain_mlp(const Tensors& in) {
  return at::matmul(at::gelu(at::matmul(in[0], in[1]) + in[2], "tanh"), in[3]);
}

// What is done where the library refuses to fuse, on the emulated machine.
class Refusals : public testing::TestWithParam<std::set<Epilogue>> {};

TEST_P(Refusals, AreWorkedAround) {
  cuda::EmulatedKernels kernels(GetParam());
  const KernelScope scope(kernels);
  at::manual_seed(1);
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const Tensors in = {at::randn({6, 24}), at::randn({24, 48}), at::randn({48}), at::randn({48, 16})};
    const Tensors rounded = copies(copies(in, at::kCPU, type), at::kCPU, at::kDouble);
    expect_close(
        results([](const Tensors& t) { return mlp_gelu(t[0], t[1], t[2], t[3], WeightLayout::in_out); }, copies(in, at::kCPU, type)),
        results(plain_mlp, rounded), tolerance_of(type));
    const Tensors three(in.begin(), in.begin() + 3);
    expect_close(results([](const Tensors& t) { return linear(t[0], t[1], t[2], WeightLayout::in_out); }, copies(three, at::kCPU, type)),
                 results(plain, Tensors(rounded.begin(), rounded.begin() + 3)), tolerance_of(type));
  }
}

INSTANTIATE_TEST_SUITE_P(Epilogues, Refusals,
                         testing::Values(std::set<Epilogue>{}, std::set{Epilogue::bias}, std::set{Epilogue::bias_gelu},
                                         std::set{Epilogue::gelu_gradient}, std::set{Epilogue::row_sums_of_a},
                                         std::set{Epilogue::row_sums_of_b},
                                         std::set{Epilogue::none, Epilogue::bias, Epilogue::bias_gelu, Epilogue::gelu_gradient,
                                                  Epilogue::row_sums_of_a, Epilogue::row_sums_of_b}));

TEST(Products, SayWhatMayBeFused) {
  const auto may = [](Element type, int64_t out, Epilogue epilogue) {
    return may_fuse(linear_product({type, false, 7, 16, out, false}, epilogue));
  };
  for (const Epilogue epilogue : {Epilogue::none, Epilogue::bias, Epilogue::row_sums_of_a, Epilogue::row_sums_of_b})
    for (const Element type : {Element::float32, Element::bfloat16, Element::float16}) EXPECT_TRUE(may(type, 9, epilogue));
  for (const Epilogue epilogue : {Epilogue::bias_gelu, Epilogue::gelu_gradient}) {
    EXPECT_FALSE(may(Element::float32, 16, epilogue));
    for (const Element type : {Element::bfloat16, Element::float16}) {
      EXPECT_TRUE(may(type, 16, epilogue));
      EXPECT_FALSE(may(type, 12, epilogue));
    }
  }
}

TEST(Products, OnlyFloat32IsRoundedToTf32) {
  for (const Element type : {Element::float32, Element::bfloat16})
    EXPECT_EQ(input_gradient_product({type, true, 7, 16, 8, true}, Epilogue::none).tf32, type == Element::float32);
}

}  // namespace
}  // namespace trireme::ops

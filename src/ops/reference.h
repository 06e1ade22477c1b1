#pragma once

// Every fused operation once more in plain ATen: what it computes, without its speed. Tests compare
// the two.

#include <trireme/ops/cross_entropy.h>
#include <trireme/ops/norm.h>

#include <string_view>

namespace trireme::ops::reference {

[[nodiscard]] CrossEntropy cross_entropy_sum(const at::Tensor& logits_NV,
                                             const at::Tensor& targets_N,
                                             const at::Tensor& mask_N = {},
                                             const CrossEntropyOptions& options = {});

[[nodiscard]] at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads);

[[nodiscard]] at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& keys_B,
                                 std::string_view site);

[[nodiscard]] Normed layer_norm(const at::Tensor& x, const at::Tensor& residual,
                                const at::Tensor& weight_C, const at::Tensor& bias_C,
                                double epsilon);
[[nodiscard]] Normed rms_norm(const at::Tensor& x, const at::Tensor& residual,
                              const at::Tensor& weight_C, double epsilon);

[[nodiscard]] at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine,
                                const at::Tensor& sine);

[[nodiscard]] at::Tensor embedding(const at::Tensor& weight_VC, const at::Tensor& indices);

[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace trireme::ops::reference

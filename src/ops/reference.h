#pragma once

// Every fused operation once more in plain ATen: what it computes, without its speed. Tests compare
// the two.

#include <trireme/ops/cross_entropy.h>

#include <string_view>

namespace trireme::ops::reference {

[[nodiscard]] CrossEntropy cross_entropy_sum(const at::Tensor& logits_NV,
                                             const at::Tensor& targets_N,
                                             const at::Tensor& mask_N = {},
                                             const CrossEntropyOptions& options = {});

[[nodiscard]] at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads);

[[nodiscard]] at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& keys_B,
                                 std::string_view site);

}  // namespace trireme::ops::reference

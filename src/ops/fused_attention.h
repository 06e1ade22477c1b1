#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Kernels of LibTorch for attention that never stores its probabilities.
enum class FusedAttention : uint8_t { flash, cudnn, none };

/// Those to try on a GPU of this compute capability ("9.0"), the one that is usually faster first. cuDNN's is only ever used
/// as here, causal without a mask: with one it has given gradients that are not finite (pytorch#196678).
[[nodiscard]] std::vector<FusedAttention> preferred_attention(std::string_view capability);

/// causal_attention (attention.h) on a device other than the CPU; B is not 0.
[[nodiscard]] at::Tensor fused_causal_attention(const at::Tensor& qkv_BTM, int64_t heads);

}  // namespace trireme::ops

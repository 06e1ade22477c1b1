#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Causal self-attention of packed projections qkv_BTM, M = 3 * heads * D, each row the
/// queries, keys and values of all heads one after the other: y_BTC, C = heads * D, head by head
/// softmax(q k^T / sqrt(D)) v over the tokens up to the query's own. In any floating type; B may be
/// 0. On the CPU short sequences of float32 are done sample by sample with whole matrix products,
/// which keeps the probabilities [B, heads, T, T] for backward; all others by ATen's fused
/// attention. On GPUs bfloat16 and float16 are done by the flash or cuDNN kernel, which read the
/// packed tensor as it is; other devices compute it from plain operations.
[[nodiscard]] at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads);

/// For the process, from the next shape that has not been seen: on GPUs the kernel is the one that
/// was faster at forward and backward of that shape, instead of the one that usually is. Timing
/// waits for the device, so a shape must be seen before it is recorded in a graph. Off at first.
void set_attention_autotune(bool on);

}  // namespace trireme::ops

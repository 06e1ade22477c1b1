#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Causal self-attention of packed projections qkv_BTM, M = 3 * heads * D, each row the
/// queries, keys and values of all heads one after the other: y_BTC, C = heads * D, head by head
/// softmax(q k^T / sqrt(D)) v over the tokens up to the query's own. On the CPU in any floating
/// type; B may be 0. Short sequences of float32 are done sample by sample with whole matrix
/// products, which keeps the probabilities [B, heads, T, T] for backward; all others by ATen's
/// fused attention.
[[nodiscard]] at::Tensor causal_attention(const at::Tensor& qkv_BTM, int64_t heads);

}  // namespace trireme::ops

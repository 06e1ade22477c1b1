#pragma once

#include <ATen/core/Tensor.h>

// Matrix products with what surrounds them. On devices with kernels of their own they are done with fused epilogues, in the type
// of autocast if that is on; on the CPU, and in float64, by ATen.
namespace trireme::ops {

/// How a weight lies in memory.
enum class WeightLayout {
  in_out,  ///< [in, out]: Hugging Face's Conv1D, GPT-2
  out_in,  ///< [out, in]: torch.nn.Linear
};

/// x W + bias for x of any leading shape that ends in `in`, which may hold no elements; the bias may be undefined. x and weight
/// have one type. Saves x and the weight.
[[nodiscard]] at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout);

/// gelu_tanh(x W_in + b_in) W_out: an MLP but for its last bias, which ops::add_bias adds where the result is read next. Saves
/// x, what gelu is applied to and, unless `recompute_activation`, its result, which costs one elementwise pass to make again.
/// Gradients are the same bits either way, but for that of w_out where gelu is fused into the first product, which applies it
/// before rounding.
[[nodiscard]] at::Tensor mlp_gelu(const at::Tensor& x, const at::Tensor& w_in, const at::Tensor& b_in, const at::Tensor& w_out,
                                  WeightLayout layout, bool recompute_activation = false);

}  // namespace trireme::ops

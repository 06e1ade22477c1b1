#pragma once

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// GELU in its tanh form (Hendrycks and Gimpel 2016), GPT-2's "gelu_new": x / (1 + exp(-2u)), u =
/// sqrt(2/pi) (x + 0.044715 x^3), element by element; float32, bfloat16, float16 or float64,
/// computed in float32 or better. Saves x for backward.
[[nodiscard]] at::Tensor gelu_tanh(const at::Tensor& x);

}  // namespace trireme::ops

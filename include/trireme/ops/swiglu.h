#pragma once

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// silu(gate) * up, silu(x) = x / (1 + exp(-x)) (Shazeer 2020, "GLU Variants Improve Transformer"), element by element; both of
/// one shape and floating type. Saves both for backward.
[[nodiscard]] at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

}  // namespace trireme::ops

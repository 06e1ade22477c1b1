#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

/// What is known of the gradients before they are used; both stay on the device.
struct GradientHealth {
  at::Tensor square_sum;  ///< 0-dim float64: the sum of squares of all elements
  at::Tensor nonfinite;   ///< 0-dim float32: 1 if an element is infinite or not a number, else 0
};

/// One pass over contiguous float32 buffers, summed in float64 in an order that does not depend on
/// the number of threads, so a finite gradient of any size has a finite sum. The host does not
/// wait.
[[nodiscard]] GradientHealth gradient_health(const std::vector<at::Tensor>& flat);

/// The flag for a sum of squares that was added up over ranks.
[[nodiscard]] at::Tensor nonfinite_flag(const at::Tensor& square_sum);

/// 0-dim float64: the 2-norm of all buffers together.
[[nodiscard]] at::Tensor global_norm(const std::vector<at::Tensor>& flat);

/// 0-dim float32: min(1, max_norm / (norm + 1e-6)), as PyTorch's clip_grad_norm_ has it. max_norm >
/// 0.
[[nodiscard]] at::Tensor clip_coefficient(const at::Tensor& norm, double max_norm);

}  // namespace trireme::optim

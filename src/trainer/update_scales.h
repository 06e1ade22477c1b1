#pragma once

#include <ATen/core/Tensor.h>

#include <trireme/optim/gradient_norm.h>

namespace trireme::trainer {

/// What an update is made with; 0-dim tensors on the device of the gradients, equal on all ranks.
struct UpdateScales {
  at::Tensor norm;            ///< float64, of the averaged gradient before clipping
  at::Tensor gradient_scale;  ///< float32: averaging, unscaling and clipping in one factor
  at::Tensor nonfinite;       ///< float32 flag: leave the update out
};

/// Backward started from loss_sum * loss_scale / W0, with W0 = `nominal_weight`; here W0 / W and 1 / loss_scale come out again.
/// `control`: the vector of control.h summed over the ranks; `health`: of the reduced gradients; `max_norm` 0: no clipping.
[[nodiscard]] UpdateScales update_scales(const at::Tensor& control, int ranks, const optim::GradientHealth& health,
                                         const at::Tensor& loss_scale, double nominal_weight, double max_norm);

/// The same by tensor operations that read nothing back: the way of update_scales() where reading would wait for the device.
[[nodiscard]] UpdateScales update_scales_on_device(const at::Tensor& control, int ranks, const optim::GradientHealth& health,
                                                   const at::Tensor& loss_scale, double nominal_weight, double max_norm);

}  // namespace trireme::trainer

#pragma once

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Rows of weight_VC: y[..., C] for int64 `indices` of any shape, each in [0, V). The weight's
/// gradient is dense, of its type; where kernels serve the device it is summed in float32 in a
/// fixed order, so that the same inputs give the same bits.
[[nodiscard]] at::Tensor embedding(const at::Tensor& weight_VC, const at::Tensor& indices);

}  // namespace trireme::ops

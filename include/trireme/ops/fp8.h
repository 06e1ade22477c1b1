#pragma once

#include <trireme/ops/linear.h>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// linear() with 8-bit operands: x and the weight as e4m3, gradients as e5m2 (Micikevicius et al. 2022, "FP8 Formats for Deep
/// Learning"), each scaled as a whole, by a power of 2 that is found on the device at each call, so that its largest element
/// just fits; sums in float32, results in x's type (bfloat16 or float32). Saves x in 8 bits, and the weight. GPUs from
/// capability 8.9 on, and slowly the CPU. Error `configuration` if the weight's sides are no multiples of 16.
[[nodiscard]] at::Tensor linear_fp8(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, WeightLayout layout);

}  // namespace trireme::ops

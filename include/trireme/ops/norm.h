#pragma once

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Of a norm that takes a residual stream along.
struct Normed {
  at::Tensor y;
  at::Tensor
      sum;  ///< x + residual, the stream as the next branch is added to it; x itself without a
            ///< residual. Using this, not x, lets backward add its gradient in the same pass.
};

/// y = (s - mean) / sqrt(variance + epsilon) * weight_C + bias_C over the last dimension C > 0 of
/// s = x + residual (Ba et al. 2016); `residual` of x's shape and bias_C may be undefined. Any
/// floating type on the CPU; float32, bfloat16 and float16 where kernels serve the device. s and y
/// have the type that x + residual has, statistics are float32 or better, the weight and the bias
/// have one type. Keeps s and two numbers a row for backward.
[[nodiscard]] Normed layer_norm(const at::Tensor& x, const at::Tensor& residual,
                                const at::Tensor& weight_C, const at::Tensor& bias_C,
                                double epsilon);

/// y = s / sqrt(mean of squares + epsilon) * weight_C (Zhang and Sennrich 2019), else the same.
[[nodiscard]] Normed rms_norm(const at::Tensor& x, const at::Tensor& residual,
                              const at::Tensor& weight_C, double epsilon);

}  // namespace trireme::ops

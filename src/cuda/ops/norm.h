#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

#include <cstdint>

namespace trireme::cuda {

/// y = norm(s) * weight + bias of each row, s = x + residual rounded to their type. Dense rows; pointers to elements.
struct NormForward {
  Element type = Element::float32;         ///< of x, residual, sum and y
  Element weight_type = Element::float32;  ///< of weight and bias: `type` or float32
  const void* x = nullptr;
  const void* residual = nullptr;  ///< null: s is x, and sum is not written
  void* sum = nullptr;
  const void* weight = nullptr;
  const void* bias = nullptr;  ///< null: none
  void* y = nullptr;
  float* mean = nullptr;  ///< null: the rms norm, which does not subtract the mean
  float* inverse = nullptr;
  int64_t rows = 0;
  int64_t columns = 0;  ///< > 0
  float epsilon = 0;
};
void norm_forward(const NormForward& norm, Stream stream);

/// The gradients of s (plus dsum), weight and bias.
struct NormBackward {
  Element type = Element::float32;         ///< of dy, dsum, s and ds
  Element weight_type = Element::float32;  ///< of weight, dweight and dbias: `type` or float32
  const void* dy = nullptr;
  const void* dsum = nullptr;  ///< null: zero
  const void* s = nullptr;
  const float* mean = nullptr;  ///< null: the rms norm
  const float* inverse = nullptr;
  const void* weight = nullptr;
  void* ds = nullptr;
  void* dweight = nullptr;
  void* dbias = nullptr;      ///< null: not wanted
  float* partials = nullptr;  ///< scratch of norm_backward_partials() floats
  int64_t rows = 0;
  int64_t columns = 0;  ///< > 0
};
/// Depends on every other member.
[[nodiscard]] int64_t norm_backward_partials(const NormBackward& norm);
void norm_backward(const NormBackward& norm, Stream stream);

}  // namespace trireme::cuda

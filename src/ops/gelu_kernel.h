#pragma once

#include <cstdint>

namespace trireme::ops {

/// T: float, c10::BFloat16 or c10::Half. `wide` takes the AVX-512 code (only where
/// simd::has_avx512()); the results are bit-equal.
template <class T>
struct GeluKernel {
  static void forward(const T* x, T* y, int64_t n, bool wide);
  /// dx = dy * gelu'(x); `dx` may be `dy`.
  static void backward(const T* x, const T* dy, T* dx, int64_t n, bool wide);
};

}  // namespace trireme::ops

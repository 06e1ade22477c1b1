#pragma once

#include <cstdint>

namespace trireme::ops {

/// What a softmax over one row needs: softmax(x)[j] = exp(x[j] - maximum) / sum. The sum is NaN if
/// the row holds a NaN.
struct RowSoftmax {
  float maximum = 0;
  float sum = 0;
};

/// T: float, c10::BFloat16 or c10::Half. `wide` takes the AVX-512 code (only where
/// simd::has_avx512()); the results are bit-equal.
template <class T>
struct SoftmaxRows {
  [[nodiscard]] static RowSoftmax forward(const T* row, int64_t n, bool wide);
  /// to[j] = exp(row[j] - maximum) * factor; `to` may be `row`.
  static void scaled_exponentials(const T* row, T* to, int64_t n, float maximum, float factor,
                                  bool wide);
  /// gradient[j] = p[j] * (gradient[j] - sum over k of p[k] * gradient[k]).
  static void backward(const T* p, T* gradient, int64_t n, bool wide);
};

}  // namespace trireme::ops

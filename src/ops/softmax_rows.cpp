#include "ops/softmax_rows.h"

#include "ops/simd.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace trireme::ops {

namespace {

using simd::block;
using simd::parts;

template <class V, class T>
[[gnu::always_inline]] inline void keep_larger(const T* from,
                                               typename V::Floats (&best)[parts<V>]) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats x;
    simd::load<V>(from + p * V::lanes, x);
    best[p] = x > best[p] ? x : best[p];
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void add_exponentials(const T* from, float maximum,
                                                    typename V::Floats (&total)[parts<V>]) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats x;
    simd::load<V>(from + p * V::lanes, x);
    x = x - maximum;
    simd::exponential<V>(x);
    total[p] += x;
  }
}

template <class V, class T>
[[gnu::always_inline]] inline RowSoftmax forward_body(const T* row, int64_t n) {
  using Floats = typename V::Floats;
  const int64_t whole = n / block * block;
  float tail[block];
  simd::fill_tail(row + whole, n - whole, -simd::infinity, tail);

  Floats best[parts<V>], total[parts<V>];
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    best[p] = Floats{} - simd::infinity;
    total[p] = Floats{};
  }
  for (int64_t i = 0; i < whole; i += block) keep_larger<V>(row + i, best);
  keep_larger<V>(tail, best);
  const float maximum = simd::maximum<V>(best);

  for (int64_t i = 0; i < whole; i += block) add_exponentials<V>(row + i, maximum, total);
  add_exponentials<V>(tail, maximum, total);
  return {maximum, simd::sum<V>(total)};
}

template <class V, class T, class U>
[[gnu::always_inline]] inline void scale_block(const T* from, U* to, float maximum, float factor) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats x;
    simd::load<V>(from + p * V::lanes, x);
    x = x - maximum;
    simd::exponential<V>(x);
    x = x * factor;
    simd::store<V>(x, to + p * V::lanes);
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void scaled_body(const T* row, T* to, int64_t n, float maximum,
                                               float factor) {
  const int64_t whole = n / block * block;
  float tail[block];
  simd::fill_tail(row + whole, n - whole, 0.0F, tail);
  for (int64_t i = 0; i < whole; i += block) scale_block<V>(row + i, to + i, maximum, factor);
  scale_block<V>(tail, tail, maximum, factor);
  for (int64_t i = whole; i < n; ++i) to[i] = static_cast<T>(tail[i - whole]);
}

template <class V, class T>
[[gnu::always_inline]] inline void add_products(const T* a, const T* b,
                                                typename V::Floats (&total)[parts<V>]) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats x, y;
    simd::load<V>(a + p * V::lanes, x);
    simd::load<V>(b + p * V::lanes, y);
    total[p] += x * y;
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void centre_block(const T* p, T* gradient, float mean) {
#pragma GCC unroll 4
  for (int64_t i = 0; i < block; i += V::lanes) {
    typename V::Floats x, y;
    simd::load<V>(p + i, x);
    simd::load<V>(gradient + i, y);
    x = x * (y - mean);
    simd::store<V>(x, gradient + i);
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void backward_body(const T* p, T* gradient, int64_t n) {
  const int64_t whole = n / block * block;
  float p_tail[block], tail[block];
  simd::fill_tail(p + whole, n - whole, 0.0F, p_tail);
  simd::fill_tail(gradient + whole, n - whole, 0.0F, tail);
  typename V::Floats total[parts<V>] = {};
  for (int64_t i = 0; i < whole; i += block) add_products<V>(p + i, gradient + i, total);
  add_products<V>(p_tail, tail, total);
  const float mean = simd::sum<V>(total);
  for (int64_t i = 0; i < whole; i += block) centre_block<V>(p + i, gradient + i, mean);
  centre_block<V>(p_tail, tail, mean);
  for (int64_t i = whole; i < n; ++i) gradient[i] = static_cast<T>(tail[i - whole]);
}

#if defined(__x86_64__)
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] RowSoftmax forward_wide(const T* row,
                                                                              int64_t n) {
  return forward_body<simd::Wide>(row, n);
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void scaled_wide(const T* row, T* to,
                                                                       int64_t n, float maximum,
                                                                       float factor) {
  scaled_body<simd::Wide>(row, to, n, maximum, factor);
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void backward_wide(const T* p, T* gradient,
                                                                         int64_t n) {
  backward_body<simd::Wide>(p, gradient, n);
}
#else
template <class T>
RowSoftmax forward_wide(const T* row, int64_t n) {
  return forward_body<simd::Narrow>(row, n);
}
template <class T>
void scaled_wide(const T* row, T* to, int64_t n, float maximum, float factor) {
  scaled_body<simd::Narrow>(row, to, n, maximum, factor);
}
template <class T>
void backward_wide(const T* p, T* gradient, int64_t n) {
  backward_body<simd::Narrow>(p, gradient, n);
}
#endif

}  // namespace

template <class T>
RowSoftmax SoftmaxRows<T>::forward(const T* row, int64_t n, bool wide) {
  return wide ? forward_wide(row, n) : forward_body<simd::Narrow>(row, n);
}

template <class T>
void SoftmaxRows<T>::scaled_exponentials(const T* row, T* to, int64_t n, float maximum,
                                         float factor, bool wide) {
  if (wide)
    scaled_wide(row, to, n, maximum, factor);
  else
    scaled_body<simd::Narrow>(row, to, n, maximum, factor);
}

template <class T>
void SoftmaxRows<T>::backward(const T* p, T* gradient, int64_t n, bool wide) {
  wide ? backward_wide(p, gradient, n) : backward_body<simd::Narrow>(p, gradient, n);
}

template struct SoftmaxRows<float>;
template struct SoftmaxRows<c10::BFloat16>;
template struct SoftmaxRows<c10::Half>;

}  // namespace trireme::ops

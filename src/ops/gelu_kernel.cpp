#include "ops/gelu_kernel.h"

#include "ops/simd.h"

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

namespace trireme::ops {

namespace {

using simd::block;
using simd::parts;

constexpr float twice_root = 1.5957691216057308F;  // 2 sqrt(2 / pi)
constexpr float cubic = 0.044715F;

// x becomes 1 / (1 + exp(-2u)).
template <class V>
[[gnu::always_inline]] inline void gate(typename V::Floats& x) {
  typename V::Floats z = x * (x * x * (-twice_root * cubic) - twice_root);
  z = z > 87.0F ? typename V::Floats{} + 87.0F : z;  // beyond it the gate is zero in float
  simd::exponential<V>(z);
  x = 1.0F / (1.0F + z);
}

template <class V, class T>
[[gnu::always_inline]] inline void forward_block(const T* x, T* y) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats value, s;
    simd::load<V>(x + p * V::lanes, value);
    s = value;
    gate<V>(s);
    value *= s;
    simd::store<V>(value, y + p * V::lanes);
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void backward_block(const T* x, const T* dy, T* dx) {
#pragma GCC unroll 4
  for (int64_t p = 0; p < parts<V>; ++p) {
    typename V::Floats value, s, gradient;
    simd::load<V>(x + p * V::lanes, value);
    simd::load<V>(dy + p * V::lanes, gradient);
    s = value;
    gate<V>(s);
    const auto twice_u = value * (value * value * (3.0F * twice_root * cubic) + twice_root);
    gradient *= s + twice_u * (s * (1.0F - s));
    simd::store<V>(gradient, dx + p * V::lanes);
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void forward_body(const T* x, T* y, int64_t n) {
  const int64_t whole = n / block * block;
  for (int64_t i = 0; i < whole; i += block) forward_block<V>(x + i, y + i);
  float tail[block];
  simd::fill_tail(x + whole, n - whole, 0.0F, tail);
  forward_block<V>(tail, tail);
  for (int64_t i = whole; i < n; ++i) y[i] = static_cast<T>(tail[i - whole]);
}

template <class V, class T>
[[gnu::always_inline]] inline void backward_body(const T* x, const T* dy, T* dx, int64_t n) {
  const int64_t whole = n / block * block;
  for (int64_t i = 0; i < whole; i += block) backward_block<V>(x + i, dy + i, dx + i);
  float tail[block], gradient[block];
  simd::fill_tail(x + whole, n - whole, 0.0F, tail);
  simd::fill_tail(dy + whole, n - whole, 0.0F, gradient);
  backward_block<V>(tail, gradient, gradient);
  for (int64_t i = whole; i < n; ++i) dx[i] = static_cast<T>(gradient[i - whole]);
}

#if defined(__x86_64__)
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void forward_wide(const T* x, T* y,
                                                                        int64_t n) {
  forward_body<simd::Wide>(x, y, n);
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void backward_wide(const T* x, const T* dy,
                                                                         T* dx, int64_t n) {
  backward_body<simd::Wide>(x, dy, dx, n);
}
#else
template <class T>
void forward_wide(const T* x, T* y, int64_t n) {
  forward_body<simd::Narrow>(x, y, n);
}
template <class T>
void backward_wide(const T* x, const T* dy, T* dx, int64_t n) {
  backward_body<simd::Narrow>(x, dy, dx, n);
}
#endif

}  // namespace

template <class T>
void GeluKernel<T>::forward(const T* x, T* y, int64_t n, bool wide) {
  wide ? forward_wide(x, y, n) : forward_body<simd::Narrow>(x, y, n);
}

template <class T>
void GeluKernel<T>::backward(const T* x, const T* dy, T* dx, int64_t n, bool wide) {
  wide ? backward_wide(x, dy, dx, n) : backward_body<simd::Narrow>(x, dy, dx, n);
}

template struct GeluKernel<float>;
template struct GeluKernel<c10::BFloat16>;
template struct GeluKernel<c10::Half>;

}  // namespace trireme::ops

#pragma once

// Vectors of 8 floats (AVX) or 16 (AVX-512). Kernels are templates of the vector and go through
// their data in blocks of 32 floats, so that each of the 32 lanes sees the same operations with
// either vector: results are bit-equal. All of it is inlined into functions compiled once per
// target, and vectors are passed by reference, as their calling convention depends on the target.

#include <cstdint>
#include <cstring>
#include <limits>

namespace trireme::ops::simd {

inline constexpr int64_t block = 32;
inline constexpr float infinity = std::numeric_limits<float>::infinity();

struct Narrow {
  static constexpr int64_t lanes = 8;
  using Floats = float __attribute__((vector_size(32)));
  using Words = uint32_t __attribute__((vector_size(32)));
};
struct Wide {
  static constexpr int64_t lanes = 16;
  using Floats = float __attribute__((vector_size(64)));
  using Words = uint32_t __attribute__((vector_size(64)));
};

/// How many vectors of V make a block.
template <class V>
inline constexpr int64_t parts = block / V::lanes;

template <class V, class T>
[[gnu::always_inline]] inline void load(const T* from, typename V::Floats& to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    std::memcpy(&to, from, sizeof to);
  } else {
    for (int64_t i = 0; i < V::lanes; ++i) to[i] = static_cast<float>(from[i]);
  }
}

template <class V, class T>
[[gnu::always_inline]] inline void store(const typename V::Floats& from, T* to) {
  if constexpr (sizeof(T) == sizeof(float)) {
    std::memcpy(to, &from, sizeof from);
  } else {
    for (int64_t i = 0; i < V::lanes; ++i) to[i] = static_cast<T>(from[i]);
  }
}

/// The end of a row, fewer than `block` values, as a block of floats filled up with `fill`.
template <class T>
[[gnu::always_inline]] inline void fill_tail(const T* from, int64_t count, float fill,
                                             float (&to)[block]) {
  for (int64_t i = 0; i < block; ++i) to[i] = i < count ? static_cast<float>(from[i]) : fill;
}

/// x = exp(x) for x up to 88, relative error below 2e-7; 0 below -87.3 (also for -infinity), NaN
/// for NaN. Range reduction and polynomial: S. Moshier, Cephes Mathematical Library, expf.
template <class V>
[[gnu::always_inline]] inline void exponential(typename V::Floats& x) {
  using Floats = typename V::Floats;
  using Words = typename V::Words;
  constexpr float log2_e = 1.44269504088896341F;
  constexpr float ln2_high = 0.693359375F, ln2_low = -2.12194440e-4F;
  constexpr float shifter =
      12582912.0F;  // 1.5 * 2^23: adding it rounds to an integer in the low bits
  const Floats shifted = x * log2_e + shifter;
  const Floats n = shifted - shifter;
  const Floats r = (x - n * ln2_high) - n * ln2_low;
  Floats p = r * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const Words power = (reinterpret_cast<Words>(shifted) << 23) + 0x3f800000U;
  const Floats value = p * reinterpret_cast<Floats>(power);
  x = x < -87.3F ? Floats{} : value;
}

/// Of the 32 lanes, in a fixed order of additions.
template <class V>
[[gnu::always_inline]] inline float sum(const typename V::Floats (&x)[parts<V>]) {
  float values[block];
  std::memcpy(values, &x, sizeof x);
  for (int64_t half = block / 2; half > 0; half /= 2)
    for (int64_t i = 0; i < half; ++i) values[i] += values[i + half];
  return values[0];
}

template <class V>
[[gnu::always_inline]] inline float maximum(const typename V::Floats (&x)[parts<V>]) {
  float values[block];
  std::memcpy(values, &x, sizeof x);
  float best = values[0];
  for (int64_t i = 1; i < block; ++i) best = values[i] > best ? values[i] : best;
  return best;
}

/// Whether functions compiled for AVX-512 may be called.
[[nodiscard]] inline bool has_avx512() {
#if defined(__x86_64__)
  static const bool yes = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                          __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return yes;
#else
  return false;
#endif
}

}  // namespace trireme::ops::simd

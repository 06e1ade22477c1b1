#pragma once

// The other src/cuda/simt.h: the CUDA language and that file's functions for the compiler of the CPU, on emulation/simt/machine.h.
// What kernels of this project do not use is missing, so that they do not begin to: atomics on floats, partial masks.

#include "emulation/simt/cuda/stream_type.h"
#include "emulation/simt/machine.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#define __global__
#define __device__
#define __host__
#define __constant__ const
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
// Set by the machine at each change of threads.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

inline void __syncthreads(std::source_location where = std::source_location::current()) {
  trireme::cuda::emulation::wait_for_block(where);
}

namespace trireme::cuda::emulation {

inline void check_mask(unsigned mask, const std::source_location& where) {
  if (mask != 0xffffffffU) fail("a warp function with a partial mask", where);
}

// The value of the lane `from`, as each lane says; its own where that is outside of its group of `width` lanes.
template <class T>
T exchange(unsigned mask, T value, unsigned from, int width, const std::source_location& where) {
  static_assert(std::is_arithmetic_v<T> && sizeof(T) <= 8 && sizeof(T) >= 4);
  check_mask(mask, where);
  if (width != 32) fail("a shuffle of a part of a warp", where);
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  wait_for_warp(bits, where);
  if (from >= 32) return value;
  bits = lane_bits(from);
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline unsigned ballot(unsigned mask, bool predicate, const std::source_location& where) {
  check_mask(mask, where);
  wait_for_warp(predicate ? 1 : 0, where);
  unsigned votes = 0;
  for (unsigned i = 0; i < 32; ++i) votes |= static_cast<unsigned>(lane_bits(i)) << i;
  return votes;
}

}  // namespace trireme::cuda::emulation

inline void __syncwarp(unsigned mask = 0xffffffffU, std::source_location where = std::source_location::current()) {
  trireme::cuda::emulation::check_mask(mask, where);
  trireme::cuda::emulation::wait_for_warp(0, where);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int from, int width = 32, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::exchange(mask, value, static_cast<unsigned>(from) % 32, width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::exchange(mask, value, trireme::cuda::emulation::lane() ^ static_cast<unsigned>(bits), width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::exchange(mask, value, trireme::cuda::emulation::lane() + by, width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, std::source_location where = std::source_location::current()) {
  const unsigned lane = trireme::cuda::emulation::lane();
  return trireme::cuda::emulation::exchange(mask, value, lane >= by ? lane - by : lane, width, where);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::ballot(mask, predicate != 0, where);
}
inline int __any_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::ballot(mask, predicate != 0, where) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned mask, int predicate, std::source_location where = std::source_location::current()) {
  return trireme::cuda::emulation::ballot(mask, predicate != 0, where) == 0xffffffffU ? 1 : 0;
}

// Blocks and threads never run at the same time.
inline void __threadfence() {}
inline void __threadfence_block() {}
template <class T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>, "sums of floats in no fixed order");
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <class T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  return std::exchange(*at, value > *at ? value : *at);
}
template <class T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  static_assert(std::is_integral_v<T>);
  return std::exchange(*at, value < *at ? value : *at);
}

template <class T>
T __ldg(const T* from) {
  return *from;
}
inline float rsqrtf(float x) { return 1.0F / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned x, unsigned y) { return static_cast<unsigned>(uint64_t{x} * y >> 32); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

namespace trireme::cuda {

struct Grid {
  unsigned x = 1;
  unsigned y = 1;
};

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, unsigned threads, Stream, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::remove_cv_t<Parameters>...> parameters;
  } call{kernel, std::tuple<std::remove_cv_t<Parameters>...>(std::forward<Arguments>(arguments)...)};
  emulation::run(grid.x, grid.y, threads, [](void* context) {
    auto* const made = static_cast<Call*>(context);
    std::apply(made->kernel, made->parameters);
  }, &call);
}

/// Few, so that loops over what is left for a block have several turns.
inline int multiprocessors() { return 3; }

template <class T>
T load_streaming(const T* from, std::source_location where = std::source_location::current()) {
  static_assert(sizeof(T) == 16);
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emulation::fail("a misaligned load", where);
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <class T>
void store_streaming(T* to, const T& value, std::source_location where = std::source_location::current()) {
  static_assert(sizeof(T) == 16);
  if (reinterpret_cast<uintptr_t>(to) % 16 != 0) emulation::fail("a misaligned store", where);
  std::memcpy(static_cast<void*>(to), &value, sizeof value);
}

}  // namespace trireme::cuda

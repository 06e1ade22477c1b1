#pragma once

// For .cu files: kernels that do the same to every element.

#include "cuda/ops/element.h"
#include "cuda/simt.h"

#include <algorithm>
#include <cstdint>

namespace trireme::cuda {

constexpr unsigned elementwise_threads = 256;

/// Blocks for n pieces of work, one a thread and turn: at most what the device holds at a time.
inline unsigned blocks_for(int64_t n, unsigned threads = elementwise_threads) {
  return static_cast<unsigned>(std::min<int64_t>((n + threads - 1) / threads, 8 * int64_t{multiprocessors()}));
}

template <class... T>
bool are_aligned(const T*... at) {
  return ((reinterpret_cast<uintptr_t>(at) % 16 == 0) && ...);
}

/// The addresses of a kernel's tensors; kernels take them by value.
template <class T, int count>
struct Addresses {
  T* at[count];
};

/// 16 bytes of floats from `from`, whatever the type.
template <class T>
__device__ void load_floats(const T* from, float (&to)[Pack<T>::size]) {
  const Pack<T> pack = load_streaming(reinterpret_cast<const Pack<T>*>(from));
#pragma unroll
  for (int j = 0; j < Pack<T>::size; ++j) to[j] = static_cast<float>(pack.values[j]);
}
template <class T>
__device__ void store_floats(T* to, const float (&from)[Pack<T>::size]) {
  Pack<T> pack;
#pragma unroll
  for (int j = 0; j < Pack<T>::size; ++j) pack.values[j] = static_cast<T>(from[j]);
  store_streaming(reinterpret_cast<Pack<T>*>(to), pack);
}

/// f(x, y): the outputs y of one element from the inputs x. The first `packs` packs by 16-byte accesses, the others one by one.
template <class T, int inputs, int outputs, class F>
__global__ void __launch_bounds__(elementwise_threads)
    map_elements(F f, Addresses<const T, inputs> from, Addresses<T, outputs> to, int64_t n, int64_t packs) {
  constexpr int size = Pack<T>::size;
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = first; i < packs; i += step) {
    float in[inputs][size], out[outputs][size];
#pragma unroll
    for (int k = 0; k < inputs; ++k) load_floats(from.at[k] + i * size, in[k]);
#pragma unroll
    for (int j = 0; j < size; ++j) {
      float x[inputs], y[outputs];
#pragma unroll
      for (int k = 0; k < inputs; ++k) x[k] = in[k][j];
      f(x, y);
#pragma unroll
      for (int k = 0; k < outputs; ++k) out[k][j] = y[k];
    }
#pragma unroll
    for (int k = 0; k < outputs; ++k) store_floats(to.at[k] + i * size, out[k]);
  }
  for (int64_t i = packs * size + first; i < n; i += step) {
    float x[inputs], y[outputs];
#pragma unroll
    for (int k = 0; k < inputs; ++k) x[k] = static_cast<float>(from.at[k][i]);
    f(x, y);
#pragma unroll
    for (int k = 0; k < outputs; ++k) to.at[k][i] = static_cast<T>(y[k]);
  }
}

template <int inputs, int outputs, class F>
void map(Element type, F f, Addresses<const void, inputs> from, Addresses<void, outputs> to, int64_t n, Stream stream) {
  bool packed = true;
  for (const void* at : from.at) packed = packed && are_aligned(at);
  for (const void* at : to.at) packed = packed && are_aligned(at);
  with_element(type, [&]<class T>(T*) {
    Addresses<const T, inputs> x;
    Addresses<T, outputs> y;
    for (int k = 0; k < inputs; ++k) x.at[k] = static_cast<const T*>(from.at[k]);
    for (int k = 0; k < outputs; ++k) y.at[k] = static_cast<T*>(to.at[k]);
    const int64_t packs = packed ? n / Pack<T>::size : 0;
    const int64_t pieces = packed ? (n + Pack<T>::size - 1) / Pack<T>::size : n;
    launch(map_elements<T, inputs, outputs, F>, {blocks_for(pieces)}, elementwise_threads, stream, f, x, y, n, packs);
  });
}

}  // namespace trireme::cuda

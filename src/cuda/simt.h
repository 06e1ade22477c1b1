#pragma once

// What kernels need of the CUDA language beyond the language itself. The tests compile the same kernels for the CPU, against a
// file of this name that emulates the language too (tests/emulation/simt/cuda/simt.h): both must offer the same.

#include "cuda/stream_type.h"

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include <cuda_runtime.h>

namespace trireme::cuda {

struct Grid {
  unsigned x = 1;
  unsigned y = 1;
};

/// Of the current device.
inline int multiprocessors() {
  int device = 0, count = 1;
  if (cudaGetDevice(&device) == cudaSuccess) cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

/// Enqueues a kernel of `threads` (a multiple of 32, at most 1024) by `grid` blocks; none for an empty grid.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Grid grid, unsigned threads, Stream stream, Arguments&&... arguments) {
  if (grid.x == 0 || grid.y == 0) return;
  kernel<<<dim3(grid.x, grid.y), dim3(threads), 0, stream>>>(std::forward<Arguments>(arguments)...);
  if (const cudaError_t error = cudaGetLastError(); error != cudaSuccess)
    throw std::runtime_error(std::string("CUDA kernel launch: ") + cudaGetErrorString(error));
}

/// 16-byte accesses that do not displace what the cache holds: for data that is touched once.
template <class T>
__device__ T load_streaming(const T* from) {
  static_assert(sizeof(T) == 16);
  const uint4 bits = __ldcs(reinterpret_cast<const uint4*>(from));
  T value;
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
__device__ void store_streaming(T* to, const T& value) {
  static_assert(sizeof(T) == 16);
  uint4 bits;
  __builtin_memcpy(&bits, &value, sizeof value);
  __stcs(reinterpret_cast<uint4*>(to), bits);
}

}  // namespace trireme::cuda

#pragma once

// For .cu files: sums over the threads of a block in an order that is always the same.

#include "cuda/simt.h"

namespace trireme::cuda {

/// Over the lanes of a warp, the same for all of them.
template <class T>
__device__ T warp_sum(T x) {
#pragma unroll
  for (int bits = 16; bits > 0; bits /= 2) x += __shfl_xor_sync(0xffffffffU, x, bits);
  return x;
}

/// Over a block of `threads`, for thread 0 (others get parts). All threads call; a barrier must lie between two calls.
template <int threads, class T>
__device__ T block_sum(T x) {
  static_assert(threads % 32 == 0 && threads <= 1024);
  __shared__ T held[threads / 32];
  x = warp_sum(x);
  if (threadIdx.x % 32 == 0) held[threadIdx.x / 32] = x;
  __syncthreads();
  if (threadIdx.x < 32) x = warp_sum(threadIdx.x < threads / 32 ? held[threadIdx.x] : T(0));
  return x;
}

}  // namespace trireme::cuda

#include "cuda/ops/dropout.h"

#include <trireme/core/random.h>

#include "cuda/ops/elementwise.h"
#include "ops/dropout_hash.h"

namespace trireme::cuda {

namespace {

__device__ float dropped(float x, const ops::DropoutHash& hash, int64_t i, uint32_t threshold, float factor) {
  // Not multiplied by a mask: what is dropped is 0 even if it was not finite.
  return hash(static_cast<uint32_t>(i)) >= threshold ? x * factor : 0.0F;
}

// Block (x, y): elements of sample y, and of every gridDim.y-th from there.
template <class T, int size>
__global__ void __launch_bounds__(elementwise_threads)
    drop(const T* x, T* y, int64_t samples, int64_t n, const int64_t* seeds, uint32_t threshold, float factor) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x * size;
  for (int64_t sample = blockIdx.y; sample < samples; sample += gridDim.y) {
    const ops::DropoutHash hash(static_cast<uint64_t>(seeds[sample]));
    const T* from = x + sample * n;
    T* to = y + sample * n;
    for (int64_t i = (static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * size; i < n; i += step) {
      if constexpr (size == 1) {
        to[i] = static_cast<T>(dropped(static_cast<float>(from[i]), hash, i, threshold, factor));
      } else {
        float values[size];
        load_floats(from + i, values);
#pragma unroll
        for (int j = 0; j < size; ++j) values[j] = dropped(values[j], hash, i + j, threshold, factor);
        store_floats(to + i, values);
      }
    }
  }
}

__global__ void __launch_bounds__(elementwise_threads) fold(const int64_t* keys, int64_t* folded, int64_t n, uint64_t part) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n; i += step)
    folded[i] = static_cast<int64_t>(core::RandomKey(static_cast<uint64_t>(keys[i])).fold(part).value());
}

}  // namespace

void dropout(Element type, const void* x, void* y, int64_t samples, int64_t n, const int64_t* seeds, double p, Stream stream) {
  const auto threshold = static_cast<uint32_t>(p * 0x1.0p32);
  const auto factor = static_cast<float>(1.0 / (1.0 - p));
  with_element(type, [&]<class T>(T*) {
    const auto run = [&](auto kernel, int64_t size) {
      const unsigned across = blocks_for((n + size - 1) / size);
      const int64_t down = std::min<int64_t>(samples, across == 0 ? 0 : (8 * int64_t{multiprocessors()} + across - 1) / across);
      launch(kernel, {across, static_cast<unsigned>(down)}, elementwise_threads, stream, static_cast<const T*>(x),
             static_cast<T*>(y), samples, n, seeds, threshold, factor);
    };
    if (n % Pack<T>::size == 0 && are_aligned(x, y))
      run(drop<T, Pack<T>::size>, Pack<T>::size);
    else
      run(drop<T, 1>, 1);
  });
}

void fold_keys(const int64_t* keys, int64_t* folded, int64_t n, uint64_t part, Stream stream) {
  launch(fold, {blocks_for(n)}, elementwise_threads, stream, keys, folded, n, part);
}

}  // namespace trireme::cuda

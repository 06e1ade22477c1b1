#include "cuda/ops/square_sum.h"

#include "cuda/ops/block_sum.h"
#include "cuda/ops/elementwise.h"

namespace trireme::cuda {

namespace {

constexpr int threads = elementwise_threads, last_threads = 1024;
constexpr int64_t at_once = 64;  // buffers of one launch: they are parameters

struct Buffers {
  FloatBuffer all[at_once];
};

__device__ double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

// Block (x, y): its share of buffer y.
__global__ void __launch_bounds__(threads) sum_squares(Buffers buffers, double* parts) {
  const FloatBuffer buffer = buffers.all[blockIdx.y];
  const int64_t first = static_cast<int64_t>(blockIdx.x) * threads + threadIdx.x;
  const int64_t step = static_cast<int64_t>(gridDim.x) * threads;
  const bool packed = reinterpret_cast<uintptr_t>(buffer.at) % 16 == 0;
  const int64_t packs = packed ? buffer.n / 4 : 0;
  double sum = 0;
#pragma unroll 2
  for (int64_t i = first; i < packs; i += step) {
    float values[4];
    load_floats(buffer.at + 4 * i, values);
    sum += (square(values[0]) + square(values[1])) + (square(values[2]) + square(values[3]));
  }
  for (int64_t i = 4 * packs + first; i < buffer.n; i += step) sum += square(buffer.at[i]);
  sum = block_sum<threads>(sum);
  if (threadIdx.x == 0) parts[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

__global__ void __launch_bounds__(last_threads) sum_parts(const double* parts, int64_t n, double* sum) {
  double total = 0;
  for (int64_t i = threadIdx.x; i < n; i += last_threads) total += parts[i];
  total = block_sum<last_threads>(total);
  if (threadIdx.x == 0) *sum = total;
}

// Of each buffer: as the largest needs.
int64_t blocks_of(const FloatBuffer* buffers, int64_t count) {
  int64_t largest = 0;
  for (int64_t i = 0; i < count; ++i) largest = std::max(largest, buffers[i].n);
  return std::clamp<int64_t>((largest + 16 * threads - 1) / (16 * threads), 1, 4 * int64_t{multiprocessors()});
}

}  // namespace

int64_t square_sum_parts(const FloatBuffer* buffers, int64_t count) { return count * blocks_of(buffers, count); }

void square_sum(const FloatBuffer* buffers, int64_t count, double* parts, double* sum, Stream stream) {
  const int64_t blocks = blocks_of(buffers, count);
  for (int64_t begin = 0; begin < count; begin += at_once) {
    const int64_t n = std::min(at_once, count - begin);
    Buffers some;
    std::copy(buffers + begin, buffers + begin + n, some.all);
    launch(sum_squares, {static_cast<unsigned>(blocks), static_cast<unsigned>(n)}, threads, stream, some, parts + begin * blocks);
  }
  launch(sum_parts, {}, last_threads, stream, parts, count * blocks, sum);
}

}  // namespace trireme::cuda

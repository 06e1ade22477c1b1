#include "cuda/ops/cross_entropy.h"

#include "cuda/ops/block_sum.h"
#include "cuda/ops/elementwise.h"

#include <math.h>

#include <limits>
#include <type_traits>

namespace trireme::cuda {

namespace {

// A block per row, which it reads once: rows lie anywhere, so that a few elements before and behind its packs are read alone.
constexpr int threads = 512;
constexpr unsigned full = 0xffffffffU;
constexpr float infinity = std::numeric_limits<float>::infinity();

template <class T>
__device__ float exponential(float x) {
  if constexpr (std::is_same_v<T, float>) return expf(x);
  return __expf(x);  // two units of 2^-23 are far below what a logit of 16 bits says
}

// How many elements precede the first address that is a multiple of 16 bytes.
template <class T>
__device__ int64_t head_of(const T* row, int64_t columns) {
  const auto beyond = static_cast<int64_t>(reinterpret_cast<uintptr_t>(row) % 16);
  const int64_t head = (16 - beyond) % 16 / static_cast<int64_t>(sizeof(T));
  return head < columns ? head : columns;
}

// The softmax of part of a row, and whether another logit comes before the target's in the order (largest, first).
struct Part {
  float maximum;
  float sum;
  int beaten;
};

// exp(x - y) where x <= y; 0 if both are -infinity.
__device__ float shrink(float x, float y) { return x == y ? 1.0F : expf(x - y); }

__device__ void merge(Part& a, const Part& b) {
  const float maximum = fmaxf(a.maximum, b.maximum);
  a.sum = a.sum * shrink(a.maximum, maximum) + b.sum * shrink(b.maximum, maximum);
  a.maximum = maximum;
  a.beaten |= b.beaten;
}

template <int lanes>
__device__ Part merge_lanes(Part part) {
#pragma unroll
  for (int bits = lanes / 2; bits > 0; bits /= 2) {
    Part other;
    other.maximum = __shfl_xor_sync(full, part.maximum, bits);
    other.sum = __shfl_xor_sync(full, part.sum, bits);
    other.beaten = __shfl_xor_sync(full, part.beaten, bits);
    merge(part, other);
  }
  return part;
}

// The elements j, j + 1, ... of a row join a part.
template <class T, int size>
__device__ void join(Part& part, const float (&x)[size], int64_t j, int64_t target, float at_target) {
  float largest = x[0];
#pragma unroll
  for (int k = 1; k < size; ++k) largest = fmaxf(largest, x[k]);
  if (largest > part.maximum) {
    part.sum *= expf(part.maximum - largest);
    part.maximum = largest;
  }
  // All of them -infinity: no difference of infinities.
  const float base = part.maximum == -infinity ? 0.0F : part.maximum;
#pragma unroll
  for (int k = 0; k < size; ++k) part.sum += exponential<T>(x[k] - base);
  if (part.beaten == 0 && largest >= at_target) {
#pragma unroll
    for (int k = 0; k < size; ++k)
      if (j + k < target ? x[k] >= at_target : x[k] > at_target) part.beaten = 1;
  }
}

template <class T>
__device__ Part read_row(const T* row, int64_t columns, int64_t target) {
  constexpr int size = Pack<T>::size;
  constexpr int at_once = 2;
  const float at_target = static_cast<float>(row[target]);
  const int64_t thread = threadIdx.x, head = head_of(row, columns), packs = (columns - head) / size;
  Part part{-infinity, 0.0F, 0};
  const auto one = [&](int64_t j) {
    const float x[1] = {static_cast<float>(row[j])};
    join<T>(part, x, j, target, at_target);
  };
  if (thread < head) one(thread);
  int64_t i = thread;
  for (; i + threads * (at_once - 1) < packs; i += threads * at_once) {
    float x[at_once][size];
#pragma unroll
    for (int k = 0; k < at_once; ++k) load_floats(row + head + (i + k * threads) * size, x[k]);
#pragma unroll
    for (int k = 0; k < at_once; ++k) join<T>(part, x[k], head + (i + k * threads) * size, target, at_target);
  }
  for (; i < packs; i += threads) {
    float x[size];
    load_floats(row + head + i * size, x);
    join<T>(part, x, head + i * size, target, at_target);
  }
  for (int64_t j = head + packs * size + thread; j < columns; j += threads) one(j);
  return part;
}

template <class T>
__global__ void __launch_bounds__(threads) forward(CrossEntropyForward all) {
  constexpr int warps = threads / 32;
  __shared__ Part held[warps];
  const int lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  for (int64_t i = blockIdx.x; i < all.rows; i += gridDim.x) {
    const int64_t target = all.targets[i];
    const bool counts = target != all.ignore_index && (all.mask == nullptr || all.mask[i]);
    const bool valid = counts && target >= 0 && target < all.columns;
    if (!valid) {  // the same for the whole block
      if (threadIdx.x == 0) {
        all.counted[i] = -1;
        all.maximum[i] = all.sum[i] = 0;
        all.loss[i] = counts ? std::numeric_limits<float>::quiet_NaN() : 0.0F;
        all.correct[i] = false;
      }
      continue;
    }
    const T* row = static_cast<const T*>(all.logits) + i * all.columns;
    Part part = merge_lanes<32>(read_row(row, all.columns, target));
    if (lane == 0) held[warp] = part;
    __syncthreads();
    if (warp == 0) {
      part = merge_lanes<warps>(held[lane % warps]);
      if (lane == 0) {
        const float at_target = static_cast<float>(row[target]);
        all.counted[i] = target;
        all.maximum[i] = part.maximum;
        all.sum[i] = part.sum;
        all.loss[i] = (part.maximum - at_target) + logf(part.sum);
        all.correct[i] = part.beaten == 0 && at_target >= part.maximum;
      }
    }
    __syncthreads();
  }
}

constexpr int sums_threads = 1024;

__global__ void __launch_bounds__(sums_threads)
    add_rows(const float* loss, const int64_t* counted, const bool* correct, int64_t rows, float* loss_sum, double* weight,
             double* hits) {
  double sum = 0;
  int count = 0, right = 0;
  for (int64_t i = threadIdx.x; i < rows; i += sums_threads) {
    sum += static_cast<double>(loss[i]);
    count += counted[i] >= 0 ? 1 : 0;
    right += correct[i] ? 1 : 0;
  }
  sum = block_sum<sums_threads>(sum);
  __syncthreads();
  count = block_sum<sums_threads>(count);
  __syncthreads();
  right = block_sum<sums_threads>(right);
  if (threadIdx.x != 0) return;
  *loss_sum = static_cast<float>(sum);
  *weight = static_cast<double>(count);
  *hits = static_cast<double>(right);
}

template <class T>
struct Gradient {
  float maximum, inverse, gradient;  // inverse: 1 / sum
  int64_t target;
  __device__ float operator()(float x, int64_t j) const {
    const float p = exponential<T>(x - maximum) * inverse;
    return (j == target ? p - 1.0F : p) * gradient;
  }
};

// packed: `into` is as far from a multiple of 16 bytes as `logits`.
template <class T, bool packed>
__global__ void __launch_bounds__(threads) backward(CrossEntropyBackward all) {
  constexpr int size = Pack<T>::size;
  const float scale = *all.gradient;
  const int64_t thread = threadIdx.x, columns = all.columns;
  for (int64_t i = blockIdx.x; i < all.rows; i += gridDim.x) {
    const T* row = static_cast<const T*>(all.logits) + i * columns;
    T* to = static_cast<T*>(all.into) + i * columns;
    const int64_t head = packed ? head_of(row, columns) : 0, packs = packed ? (columns - head) / size : 0;
    const int64_t target = all.counted[i], rest = head + packs * size;
    if (target < 0) {
      const float zeros[size] = {};
      if (thread < head) to[thread] = static_cast<T>(0.0F);
      for (int64_t k = thread; k < packs; k += threads) store_floats(to + head + k * size, zeros);
      for (int64_t j = rest + thread; j < columns; j += threads) to[j] = static_cast<T>(0.0F);
      continue;
    }
    const Gradient<T> gradient{all.maximum[i], 1.0F / all.sum[i], scale, target};
    if (thread < head) to[thread] = static_cast<T>(gradient(static_cast<float>(row[thread]), thread));
#pragma unroll 2
    for (int64_t k = thread; k < packs; k += threads) {
      const int64_t j = head + k * size;
      float x[size];
      load_floats(row + j, x);
#pragma unroll
      for (int m = 0; m < size; ++m) x[m] = gradient(x[m], j + m);
      store_floats(to + j, x);
    }
    for (int64_t j = rest + thread; j < columns; j += threads) to[j] = static_cast<T>(gradient(static_cast<float>(row[j]), j));
  }
}

Grid grid_for(int64_t rows) {
  return {static_cast<unsigned>(std::min<int64_t>(rows, 8 * int64_t{multiprocessors()}))};
}

}  // namespace

void cross_entropy_rows(const CrossEntropyForward& all, Stream stream) {
  with_element(all.type, [&]<class T>(T*) { launch(forward<T>, grid_for(all.rows), threads, stream, all); });
}

void cross_entropy_sums(const float* loss, const int64_t* counted, const bool* correct, int64_t rows, float* loss_sum,
                        double* weight, double* hits, Stream stream) {
  launch(add_rows, {}, sums_threads, stream, loss, counted, correct, rows, loss_sum, weight, hits);
}

void cross_entropy_backward(const CrossEntropyBackward& all, Stream stream) {
  const bool packed = (reinterpret_cast<uintptr_t>(all.logits) ^ reinterpret_cast<uintptr_t>(all.into)) % 16 == 0;
  with_element(all.type, [&]<class T>(T*) {
    launch(packed ? backward<T, true> : backward<T, false>, all.columns == 0 ? Grid{0} : grid_for(all.rows), threads, stream, all);
  });
}

}  // namespace trireme::cuda

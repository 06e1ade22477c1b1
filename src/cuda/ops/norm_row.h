#pragma once

// Parts of the norm kernels that both directions share: which thread holds what of a row, and sums over it.

#include "cuda/ops/block_sum.h"
#include "cuda/ops/element.h"
#include "cuda/simt.h"

#include <cstdint>

namespace trireme::cuda {

/// A row whose threads hold `packs` packs each, `warps` warps a row. A block has four rows of one warp, or one row of more.
template <int row_warps, int row_packs>
struct RowShape {
  static constexpr int warps = row_warps;
  static constexpr int packs = row_packs;
  static constexpr int lanes = 32 * warps;       ///< threads of a row
  static constexpr int capacity = lanes * packs;  ///< packs of a row
  static constexpr int rows = warps == 1 ? 4 : 1;  ///< of a block
  static constexpr int threads = lanes * rows;
};

/// Calls f with the first shape that holds `packs`; false if none does.
template <class F, class... Shapes>
bool with_first_shape(int64_t packs, F&& f, Shapes... shapes) {
  return ((packs <= Shapes::capacity ? (f(shapes), true) : false) || ...);
}
template <class F>
bool with_row_shape(int64_t packs, F&& f) {
  return with_first_shape(packs, f, RowShape<1, 1>(), RowShape<1, 2>(), RowShape<1, 3>(), RowShape<1, 4>(), RowShape<2, 3>(),
                          RowShape<2, 4>(), RowShape<4, 3>(), RowShape<4, 4>(), RowShape<8, 3>(), RowShape<8, 4>());
}

/// Sums over the threads of a row. With several warps a row the whole block calls.
template <int warps>
class RowSums {
 public:
  __device__ float of(float value) {
    float none = 0;
    of_both(value, none);
    return value;
  }
  __device__ void of_both(float& a, float& b) {
    a = warp_sum(a);
    b = warp_sum(b);
    if constexpr (warps > 1) {
      // Two sets in turn: whoever writes one of them has passed the barrier behind the last reading of it.
      __shared__ float parts[2][2][warps];
      if (threadIdx.x % 32 == 0) {
        parts[turn_][0][threadIdx.x / 32] = a;
        parts[turn_][1][threadIdx.x / 32] = b;
      }
      __syncthreads();
      a = b = 0;
      for (int warp = 0; warp < warps; ++warp) {
        a += parts[turn_][0][warp];
        b += parts[turn_][1][warp];
      }
      turn_ ^= 1;
    }
  }

 private:
  int turn_ = 0;
};

/// A pack that stays packed in its four registers: the compiler would rather keep what it computes from it, in up to four times as
/// many.
template <class T>
struct Packed {
  uint32_t words[4] = {};

  __device__ void load(const Pack<T>* from) {
    const Pack<T> pack = load_streaming(from);
    __builtin_memcpy(words, &pack, sizeof words);
  }
  __device__ void floats(float (&into)[Pack<T>::size]) {
    for (uint32_t& word : words) asm volatile("" : "+r"(word));  // it cannot know that they are the same as last time
    Pack<T> pack;
    __builtin_memcpy(&pack, words, sizeof words);
    for (int j = 0; j < Pack<T>::size; ++j) into[j] = static_cast<float>(pack.values[j]);
  }
};

/// A pack of weights at column c, which are float32 or T.
template <class T>
__device__ void load_weights(const void* weights, bool are_float, int64_t c, float (&into)[Pack<T>::size]) {
  if (are_float) {
    const auto* from = reinterpret_cast<const Pack<float>*>(static_cast<const float*>(weights) + c);
    for (int part = 0; part < Pack<T>::size / 4; ++part) {
      const Pack<float> pack = from[part];
      for (int j = 0; j < 4; ++j) into[part * 4 + j] = pack.values[j];
    }
  } else {
    const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(static_cast<const T*>(weights) + c);
    for (int j = 0; j < Pack<T>::size; ++j) into[j] = static_cast<float>(pack.values[j]);
  }
}

/// One weight, where columns go one by one.
template <class T>
__device__ float load_weight(const void* weights, bool are_float, int64_t c) {
  return are_float ? static_cast<const float*>(weights)[c] : static_cast<float>(static_cast<const T*>(weights)[c]);
}

/// Whether rows of `columns` T at these addresses (null ones aside) can be read in packs.
template <class T, class... Pointers>
bool in_packs(int64_t columns, Pointers... pointers) {
  return columns % Pack<T>::size == 0 && ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

}  // namespace trireme::cuda

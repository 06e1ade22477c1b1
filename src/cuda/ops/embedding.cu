#include "cuda/ops/embedding.h"

#include "cuda/simt.h"

#include <algorithm>

namespace trireme::cuda {

namespace {

// A word that is a twentieth of the text has thousands of positions, which one block would take too long to add up. So each block
// adds those of a tile of sorted positions: indices that begin and end in it are done, sums of what reaches over an edge go to
// `partials` [tiles, 2, columns] (0: of the index that began before the tile, 1: of the one that began in it), which are added
// afterwards.
constexpr int threads = 128;
constexpr int at_once = 8;  // rows on their way from memory
constexpr int64_t blocks_per_sm = 16;

template <class T, int size>
struct alignas(size * sizeof(T)) Neighbours {
  T values[size];
};

template <int size>
struct Sum {
  // Partial sums lie as the packs of dy do, so that 16-byte accesses fit where those do.
  static constexpr int part = size < 4 ? size : 4;
  float values[size] = {};

  template <class T>
  __device__ void add(const Neighbours<T, size>& more) {
#pragma unroll
    for (int j = 0; j < size; ++j) values[j] += static_cast<float>(more.values[j]);
  }
  __device__ void add_partial(const float* from) {
#pragma unroll
    for (int p = 0; p < size; p += part) {
      const auto more = *reinterpret_cast<const Neighbours<float, part>*>(from + p);
#pragma unroll
      for (int j = 0; j < part; ++j) values[p + j] += more.values[j];
    }
  }
  template <class T>
  __device__ void store(T* to) const {
    Neighbours<T, size> rounded;
#pragma unroll
    for (int j = 0; j < size; ++j) rounded.values[j] = static_cast<T>(values[j]);
    *reinterpret_cast<Neighbours<T, size>*>(to) = rounded;
  }
  __device__ void store_partial(float* to) const {
#pragma unroll
    for (int p = 0; p < size; p += part) {
      Neighbours<float, part> some;
#pragma unroll
      for (int j = 0; j < part; ++j) some.values[j] = values[p + j];
      *reinterpret_cast<Neighbours<float, part>*>(to + p) = some;
    }
  }
};

template <class T, int size>
__global__ void sum_tiles(EmbeddingBackward backward, int64_t tiles) {
  __shared__ int32_t keys[embedding_tile + 2];  // with those before and behind the tile, -1 where there are none
  __shared__ int64_t places[embedding_tile];
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * size;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const int64_t first = tile * embedding_tile;
    const int count = static_cast<int>(backward.count - first < embedding_tile ? backward.count - first : embedding_tile);
    __syncthreads();
    for (int i = static_cast<int>(threadIdx.x); i < count + 2; i += threads) {
      const int64_t position = first + i - 1;
      keys[i] = position >= 0 && position < backward.count ? backward.keys[position] : -1;
      if (i < count) places[i] = backward.places[first + i];
    }
    __syncthreads();
    if (column >= backward.columns) continue;
    const T* dy = static_cast<const T*>(backward.dy) + column;
    T* result = static_cast<T*>(backward.result) + column;
    float* partials = backward.partials + tile * 2 * backward.columns + column;
    bool began_before = keys[0] == keys[1];
    Sum<size> sum;
    for (int base = 0; base < count; base += at_once) {
      Neighbours<T, size> rows[at_once];
#pragma unroll
      for (int k = 0; k < at_once; ++k)
        if (base + k < count) rows[k] = *reinterpret_cast<const Neighbours<T, size>*>(dy + places[base + k] * backward.columns);
#pragma unroll
      for (int k = 0; k < at_once; ++k) {
        const int i = base + k;
        if (i >= count) continue;
        sum.add(rows[k]);
        const int32_t key = keys[i + 1];
        const bool ends = keys[i + 2] != key;
        if (!ends && i + 1 < count) continue;
        if (began_before)
          sum.store_partial(partials);
        else if (!ends)
          sum.store_partial(partials + backward.columns);
        else if (key >= 0 && key < backward.rows)
          sum.store(result + key * backward.columns);
        sum = {};
        began_before = false;
      }
    }
  }
}

// Of the index that begins in a tile and goes on behind it: by that tile's block.
template <class T, int size>
__global__ void join_tiles(EmbeddingBackward backward, int64_t tiles) {
  const int64_t column = (static_cast<int64_t>(blockIdx.y) * threads + threadIdx.x) * size;
  if (column >= backward.columns) return;
  const float* partials = backward.partials + column;
  for (int64_t tile = blockIdx.x; tile + 1 < tiles; tile += gridDim.x) {
    const int64_t next = (tile + 1) * embedding_tile;
    const int32_t key = backward.keys[next];
    if (backward.keys[next - 1] != key || key < 0 || key >= backward.rows) continue;
    const int64_t first = next - embedding_tile;
    if (first > 0 && backward.keys[first - 1] == key) continue;  // began earlier still
    int64_t end = tile + 1;  // first tile that does not begin with the index
    while (end < tiles && backward.keys[end * embedding_tile] == key) ++end;
    Sum<size> sum;
    sum.add_partial(partials + (tile * 2 + 1) * backward.columns);
#pragma unroll 4
    for (int64_t other = tile + 1; other < end; ++other) sum.add_partial(partials + other * 2 * backward.columns);
    sum.store(static_cast<T*>(backward.result) + key * backward.columns + column);
  }
}

int64_t tiles_of(int64_t count) { return (count + embedding_tile - 1) / embedding_tile; }

template <class T, int size>
void sum_rows(const EmbeddingBackward& backward, Stream stream) {
  const int64_t tiles = tiles_of(backward.count);
  const int64_t wide = (backward.columns + threads * size - 1) / (threads * size);
  const int64_t high = std::min(tiles, std::max<int64_t>(1, multiprocessors() * blocks_per_sm / std::max<int64_t>(1, wide)));
  const Grid grid{static_cast<unsigned>(high), static_cast<unsigned>(wide)};
  launch(sum_tiles<T, size>, grid, threads, stream, backward, tiles);
  launch(join_tiles<T, size>, grid, threads, stream, backward, tiles);
}

}  // namespace

int64_t embedding_partials(int64_t count, int64_t columns) { return tiles_of(count) * 2 * columns; }

void embedding_backward(const EmbeddingBackward& backward, Stream stream) {
  const auto aligned = [](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % 16 == 0;
  };
  with_element(backward.type, [&]<class T>(T*) {
    if (backward.columns % Pack<T>::size == 0 && aligned(backward.dy) && aligned(backward.result))
      sum_rows<T, Pack<T>::size>(backward, stream);
    else
      sum_rows<T, 1>(backward, stream);
  });
}

}  // namespace trireme::cuda

#include "cuda/ops/bias.h"

#include "cuda/ops/elementwise.h"

namespace trireme::cuda {

namespace {

constexpr unsigned lanes = 32, warps = 8;

// Block (x, y): columns [x * lanes * size, ...) of the rows of slice y; a lane has `size` columns, a warp every eighth row.
template <class T, class Sum, int size>
__global__ void __launch_bounds__(lanes* warps)
    sum_rows(const T* x, Sum* sums, int64_t rows, int64_t columns, int64_t rows_of_slice) {
  __shared__ float held[warps][lanes * size];
  const int lane = static_cast<int>(threadIdx.x % lanes), warp = static_cast<int>(threadIdx.x / lanes);
  const int64_t column = (static_cast<int64_t>(blockIdx.x) * lanes + lane) * size;
  const int64_t begin = static_cast<int64_t>(blockIdx.y) * rows_of_slice;
  const int64_t end = begin + rows_of_slice < rows ? begin + rows_of_slice : rows;
  float sum[size] = {};
  if (column < columns) {
#pragma unroll 4
    for (int64_t row = begin + warp; row < end; row += warps) {
      float values[size];
      if constexpr (size == 1)
        values[0] = static_cast<float>(x[row * columns + column]);
      else
        load_floats(x + row * columns + column, values);
#pragma unroll
      for (int j = 0; j < size; ++j) sum[j] += values[j];
    }
  }
  // Neighbouring lanes write neighbouring words.
#pragma unroll
  for (int j = 0; j < size; ++j) held[warp][j * lanes + lane] = sum[j];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(lanes) * size; i += static_cast<int>(lanes * warps)) {
    const int64_t to = (static_cast<int64_t>(blockIdx.x) * lanes + i % lanes) * size + i / static_cast<int>(lanes);
    float total = 0;
#pragma unroll
    for (unsigned w = 0; w < warps; ++w) total += held[w][i];
    if (to < columns) sums[static_cast<int64_t>(blockIdx.y) * columns + to] = static_cast<Sum>(total);
  }
}

template <class T, class Sum>
void launch_sums(const T* x, Sum* sums, int64_t rows, int64_t columns, int64_t slices, Stream stream) {
  const int64_t of_slice = (rows + slices - 1) / slices;
  const auto run = [&](auto kernel, int64_t size) {
    const int64_t tile = lanes * size;
    launch(kernel, {static_cast<unsigned>((columns + tile - 1) / tile), static_cast<unsigned>(slices)}, lanes * warps, stream, x,
           sums, rows, columns, of_slice);
  };
  if (columns % Pack<T>::size == 0 && are_aligned(x))
    run(sum_rows<T, Sum, Pack<T>::size>, Pack<T>::size);
  else
    run(sum_rows<T, Sum, 1>, 1);
}

}  // namespace

int64_t column_slices(int64_t rows, int64_t columns) {
  // Four blocks a multiprocessor, counted in the narrowest tiles that are likely; 32 rows are worth a block.
  const int64_t tiles = (columns + 255) / 256;
  const int64_t wanted = 4 * int64_t{multiprocessors()} / std::max<int64_t>(1, tiles);
  return std::clamp<int64_t>(std::min(wanted, rows / 32), 1, 65535);
}

void column_sums(Element type, const void* x, int64_t rows, int64_t columns, float* partial, Element sum_type, void* sums,
                 Stream stream) {
  const int64_t slices = column_slices(rows, columns);
  with_element(type, [&]<class T>(T*) { launch_sums(static_cast<const T*>(x), partial, rows, columns, slices, stream); });
  with_element(sum_type, [&]<class Sum>(Sum*) {
    launch_sums(static_cast<const float*>(partial), static_cast<Sum*>(sums), slices, columns, 1, stream);
  });
}

}  // namespace trireme::cuda

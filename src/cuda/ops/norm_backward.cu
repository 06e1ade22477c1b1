#include "cuda/ops/norm.h"
#include "cuda/ops/norm_row.h"

#include <algorithm>

namespace trireme::cuda {

namespace {

// Registers limit how many warps of backward_rows an SM holds: this many, all at once, so that no block waits for another.
template <class T, class Shape>
constexpr int warps_per_sm = Shape::packs * Pack<T>::size <= 8                         ? 24
                             : Shape::packs * Pack<T>::size <= 24 || Shape::warps == 8 ? 16
                                                                                       : 12;
template <class T, class Shape>
constexpr int blocks_per_sm = warps_per_sm<T, Shape> * 32 / Shape::threads;

// Gradients of weight and bias are column sums. Blocks stay for many rows and add up the columns that their threads hold; what
// they end with, `partials` [blocks, 1 or 2, columns], is added by sum_partials.
template <class T, class Shape>
__global__ __launch_bounds__(Shape::threads, (blocks_per_sm<T, Shape>)) void backward_rows(NormBackward norm) {
  constexpr int size = Pack<T>::size, packs = Shape::packs;
  const int lane = static_cast<int>(threadIdx.x) % Shape::lanes;
  const bool float_weights = norm.weight_type == Element::float32;
  const float scale = 1.0F / static_cast<float>(norm.columns);
  const int count = static_cast<int>(norm.columns / size);
  float dweight[packs][size] = {}, dbias[packs][size] = {};
  RowSums<Shape::warps> sums;
  const int64_t step = static_cast<int64_t>(gridDim.x) * Shape::rows;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * Shape::rows + threadIdx.x / Shape::lanes; row < norm.rows; row += step) {
    const int64_t start = row * norm.columns;
    const auto* dy_row = reinterpret_cast<const Pack<T>*>(static_cast<const T*>(norm.dy) + start);
    const auto* s_row = reinterpret_cast<const Pack<T>*>(static_cast<const T*>(norm.s) + start);
    const auto* dsum_row = reinterpret_cast<const Pack<T>*>(static_cast<const T*>(norm.dsum) + start);
    auto* ds_row = reinterpret_cast<Pack<T>*>(static_cast<T*>(norm.ds) + start);
    Packed<T> dy[packs], s[packs], dsum[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i >= count) continue;
      dy[p].load(dy_row + i);
      s[p].load(s_row + i);
      if (norm.dsum != nullptr) dsum[p].load(dsum_row + i);
    }
    const float mean = norm.mean != nullptr ? norm.mean[row] : 0.0F;
    const float inverse = norm.inverse[row];
    float sum = 0, product = 0;  // of g = dy * weight, and of g * normed
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i >= count) continue;
      float gradient[size], value[size], weight[size];
      dy[p].floats(gradient);
      s[p].floats(value);
      load_weights<T>(norm.weight, float_weights, int64_t{i} * size, weight);
#pragma unroll
      for (int j = 0; j < size; ++j) {
        const float normed = (value[j] - mean) * inverse, g = gradient[j] * weight[j];
        sum += g;
        product += g * normed;
        dweight[p][j] += gradient[j] * normed;
        dbias[p][j] += gradient[j];
      }
    }
    sums.of_both(sum, product);
    const float along_mean = norm.mean != nullptr ? sum * scale : 0.0F, along_row = product * scale;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i >= count) continue;
      float gradient[size], value[size], more[size], weight[size];
      dy[p].floats(gradient);
      s[p].floats(value);
      dsum[p].floats(more);
      load_weights<T>(norm.weight, float_weights, int64_t{i} * size, weight);
      Pack<T> ds;
#pragma unroll
      for (int j = 0; j < size; ++j) {
        const float normed = (value[j] - mean) * inverse;
        const float g = gradient[j] * weight[j];
        ds.values[j] = static_cast<T>(inverse * (g - along_mean - normed * along_row) + more[j]);
      }
      ds_row[i] = ds;
    }
  }

  const int64_t width = norm.dbias != nullptr ? 2 * norm.columns : norm.columns;
  float* partials = norm.partials + blockIdx.x * width;
  const auto store = [&](float* to, const float(&values)[packs][size]) {
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i >= count) continue;
#pragma unroll
      for (int part = 0; part < size / 4; ++part) {
        Pack<float> pack;
#pragma unroll
        for (int j = 0; j < 4; ++j) pack.values[j] = values[p][part * 4 + j];
        *reinterpret_cast<Pack<float>*>(to + i * size + part * 4) = pack;
      }
    }
  };
  if constexpr (Shape::rows > 1) {
    // The block's rows one after the other, in their order.
    __shared__ float so_far[2][packs * size][Shape::lanes];
    const int mine = static_cast<int>(threadIdx.x) / Shape::lanes;
    for (int turn = 0; turn < Shape::rows; ++turn) {
      if (turn == mine) {
#pragma unroll
        for (int p = 0; p < packs; ++p) {
#pragma unroll
          for (int j = 0; j < size; ++j) {
            if (turn > 0) {
              dweight[p][j] += so_far[0][p * size + j][lane];
              dbias[p][j] += so_far[1][p * size + j][lane];
            }
            so_far[0][p * size + j][lane] = dweight[p][j];
            so_far[1][p * size + j][lane] = dbias[p][j];
          }
        }
      }
      __syncthreads();
    }
    if (mine != Shape::rows - 1) return;
  }
  store(partials, dweight);
  if (norm.dbias != nullptr) store(partials + norm.columns, dbias);
}

constexpr int any_warps = 8;      // of a block where rows are too long for registers, or not aligned
constexpr int any_columns = 128;  // of a block of columns_any

template <class T>
__global__ void backward_any(NormBackward norm) {
  const bool float_weights = norm.weight_type == Element::float32;
  const float scale = 1.0F / static_cast<float>(norm.columns);
  RowSums<any_warps> sums;
  for (int64_t row = blockIdx.x; row < norm.rows; row += gridDim.x) {
    const int64_t start = row * norm.columns;
    const T* dy = static_cast<const T*>(norm.dy) + start;
    const T* s = static_cast<const T*>(norm.s) + start;
    const float mean = norm.mean != nullptr ? norm.mean[row] : 0.0F;
    const float inverse = norm.inverse[row];
    float sum = 0, product = 0;
    for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x) {
      const float g = static_cast<float>(dy[c]) * load_weight<T>(norm.weight, float_weights, c);
      sum += g;
      product += g * (static_cast<float>(s[c]) - mean) * inverse;
    }
    sums.of_both(sum, product);
    const float along_mean = norm.mean != nullptr ? sum * scale : 0.0F, along_row = product * scale;
    const T* dsum = norm.dsum != nullptr ? static_cast<const T*>(norm.dsum) + start : nullptr;
    T* ds = static_cast<T*>(norm.ds) + start;
    for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x) {
      const float g = static_cast<float>(dy[c]) * load_weight<T>(norm.weight, float_weights, c);
      const float normed = (static_cast<float>(s[c]) - mean) * inverse;
      const float more = dsum != nullptr ? static_cast<float>(dsum[c]) : 0.0F;
      ds[c] = static_cast<T>(inverse * (g - along_mean - normed * along_row) + more);
    }
  }
}

// A thread a column, over each gridDim.y-th row.
template <class T>
__global__ void columns_any(NormBackward norm) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * any_columns + threadIdx.x;
  if (c >= norm.columns) return;
  float dweight = 0, dbias = 0;
  for (int64_t row = blockIdx.y; row < norm.rows; row += gridDim.y) {
    const float mean = norm.mean != nullptr ? norm.mean[row] : 0.0F;
    const float gradient = static_cast<float>(static_cast<const T*>(norm.dy)[row * norm.columns + c]);
    const float s = static_cast<float>(static_cast<const T*>(norm.s)[row * norm.columns + c]);
    dweight += gradient * ((s - mean) * norm.inverse[row]);
    dbias += gradient;
  }
  const int64_t width = norm.dbias != nullptr ? 2 * norm.columns : norm.columns;
  float* partials = norm.partials + blockIdx.y * width;
  partials[c] = dweight;
  if (norm.dbias != nullptr) partials[norm.columns + c] = dbias;
}

constexpr int adding_warps = 16;

// A lane a column of the `width` partial sums a block left; each warp adds every 16th of `count`, then the warps' sums are added.
template <class W>
__global__ void sum_partials(NormBackward norm, int64_t count, int64_t width) {
  __shared__ float parts[adding_warps][32];
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  const int64_t c = static_cast<int64_t>(blockIdx.x) * 32 + lane;
  float sum = 0;
  if (c < width) {
#pragma unroll 4
    for (int64_t i = warp; i < count; i += adding_warps) sum += norm.partials[i * width + c];
  }
  parts[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || c >= width) return;
  for (int other = 1; other < adding_warps; ++other) sum += parts[other][lane];
  if (c < norm.columns)
    static_cast<W*>(norm.dweight)[c] = static_cast<W>(sum);
  else
    static_cast<W*>(norm.dbias)[c - norm.columns] = static_cast<W>(sum);
}

constexpr int64_t column_blocks_per_sm = 8;

struct Plan {
  bool in_registers = false;
  int64_t partials = 0;  // blocks of backward_rows, or rows of blocks of columns_any
};

template <class T>
Plan plan(const NormBackward& norm) {
  Plan plan;
  plan.in_registers =
      in_packs<T>(norm.columns, norm.dy, norm.dsum, norm.s, norm.weight, norm.ds) &&
      with_row_shape(norm.columns / Pack<T>::size, [&]<class Shape>(Shape) {
        plan.partials = std::min((norm.rows + Shape::rows - 1) / Shape::rows,
                                 int64_t{multiprocessors()} * blocks_per_sm<T, Shape>);
      });
  if (!plan.in_registers) {
    const int64_t tiles = (norm.columns + any_columns - 1) / any_columns;
    plan.partials = std::min(norm.rows, std::max<int64_t>(1, multiprocessors() * column_blocks_per_sm / tiles));
  }
  return plan;
}

template <class T>
void backward(const NormBackward& norm, Stream stream) {
  const Plan chosen = plan<T>(norm);
  const auto partials = static_cast<unsigned>(chosen.partials);
  if (chosen.in_registers) {
    with_row_shape(norm.columns / Pack<T>::size, [&]<class Shape>(Shape) {
      launch(backward_rows<T, Shape>, Grid{partials}, Shape::threads, stream, norm);
    });
  } else {
    const auto blocks = std::min<int64_t>(norm.rows, int64_t{multiprocessors()} * 64 / any_warps);
    launch(backward_any<T>, Grid{static_cast<unsigned>(blocks)}, any_warps * 32, stream, norm);
    const int64_t tiles = (norm.columns + any_columns - 1) / any_columns;
    launch(columns_any<T>, Grid{static_cast<unsigned>(tiles), partials}, any_columns, stream, norm);
  }
  const int64_t width = norm.dbias != nullptr ? 2 * norm.columns : norm.columns;
  with_element(norm.weight_type, [&]<class W>(W*) {
    launch(sum_partials<W>, Grid{static_cast<unsigned>((width + 31) / 32)}, adding_warps * 32, stream, norm, chosen.partials,
           width);
  });
}

}  // namespace

int64_t norm_backward_partials(const NormBackward& norm) {
  int64_t count = 0;
  with_element(norm.type, [&]<class T>(T*) { count = plan<T>(norm).partials; });
  return count * (norm.dbias != nullptr ? 2 : 1) * norm.columns;
}

void norm_backward(const NormBackward& norm, Stream stream) {
  with_element(norm.type, [&]<class T>(T*) { backward<T>(norm, stream); });
}

}  // namespace trireme::cuda

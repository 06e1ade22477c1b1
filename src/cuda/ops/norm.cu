#include "cuda/ops/norm.h"

#include "cuda/ops/norm_row.h"

#include <algorithm>

namespace trireme::cuda {

namespace {

// A row is read once and held in registers: x + residual, then mean, then deviations from it.
template <class T, class Shape>
__global__ void forward_rows(NormForward norm) {
  constexpr int size = Pack<T>::size, packs = Shape::packs;
  const int lane = static_cast<int>(threadIdx.x) % Shape::lanes;
  const bool float_weights = norm.weight_type == Element::float32;
  const float scale = 1.0F / static_cast<float>(norm.columns);
  RowSums<Shape::warps> sums;
  const int64_t step = static_cast<int64_t>(gridDim.x) * Shape::rows;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * Shape::rows + threadIdx.x / Shape::lanes; row < norm.rows; row += step) {
    const int64_t start = row * norm.columns;
    const auto* x = reinterpret_cast<const Pack<T>*>(static_cast<const T*>(norm.x) + start);
    const auto* residual = reinterpret_cast<const Pack<T>*>(static_cast<const T*>(norm.residual) + start);
    const int count = static_cast<int>(norm.columns / size);
    Pack<T> s[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i < count) s[p] = load_streaming(x + i);
    }
    if (norm.residual != nullptr) {
      Pack<T> r[packs];
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        const int i = p * Shape::lanes + lane;
        if (i < count) r[p] = load_streaming(residual + i);
      }
      auto* sum = reinterpret_cast<Pack<T>*>(static_cast<T*>(norm.sum) + start);
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        const int i = p * Shape::lanes + lane;
        if (i >= count) continue;
#pragma unroll
        for (int j = 0; j < size; ++j)
          s[p].values[j] = static_cast<T>(static_cast<float>(s[p].values[j]) + static_cast<float>(r[p].values[j]));
        sum[i] = s[p];
      }
    }
    float mean = 0;
    if (norm.mean != nullptr) {
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        if (p * Shape::lanes + lane >= count) continue;
#pragma unroll
        for (int j = 0; j < size; ++j) mean += static_cast<float>(s[p].values[j]);
      }
      mean = sums.of(mean) * scale;
    }
    float squares = 0;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      if (p * Shape::lanes + lane >= count) continue;
#pragma unroll
      for (int j = 0; j < size; ++j) {
        const float deviation = static_cast<float>(s[p].values[j]) - mean;
        squares += deviation * deviation;
      }
    }
    const float inverse = rsqrtf(sums.of(squares) * scale + norm.epsilon);
    if (lane == 0) {
      if (norm.mean != nullptr) norm.mean[row] = mean;
      norm.inverse[row] = inverse;
    }
    auto* y = reinterpret_cast<Pack<T>*>(static_cast<T*>(norm.y) + start);
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      const int i = p * Shape::lanes + lane;
      if (i >= count) continue;
      float weight[size], bias[size] = {};
      load_weights<T>(norm.weight, float_weights, int64_t{i} * size, weight);
      if (norm.bias != nullptr) load_weights<T>(norm.bias, float_weights, int64_t{i} * size, bias);
#pragma unroll
      for (int j = 0; j < size; ++j)
        s[p].values[j] = static_cast<T>((static_cast<float>(s[p].values[j]) - mean) * inverse * weight[j] + bias[j]);
      y[i] = s[p];
    }
  }
}

constexpr int any_warps = 8;  // of a block where rows are too long for registers, or not aligned

template <class T>
__global__ void forward_any(NormForward norm) {
  const bool float_weights = norm.weight_type == Element::float32;
  const float scale = 1.0F / static_cast<float>(norm.columns);
  RowSums<any_warps> sums;
  for (int64_t row = blockIdx.x; row < norm.rows; row += gridDim.x) {
    const int64_t start = row * norm.columns;
    const T* s = static_cast<const T*>(norm.x) + start;
    float mean = 0;
    if (norm.residual != nullptr) {
      const T* residual = static_cast<const T*>(norm.residual) + start;
      T* sum = static_cast<T*>(norm.sum) + start;
      for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x)
        sum[c] = static_cast<T>(static_cast<float>(s[c]) + static_cast<float>(residual[c]));
      s = sum;  // each thread reads what it wrote itself
    }
    if (norm.mean != nullptr) {
      for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x) mean += static_cast<float>(s[c]);
      mean = sums.of(mean) * scale;
    }
    float squares = 0;
    for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x) {
      const float deviation = static_cast<float>(s[c]) - mean;
      squares += deviation * deviation;
    }
    const float inverse = rsqrtf(sums.of(squares) * scale + norm.epsilon);
    if (threadIdx.x == 0) {
      if (norm.mean != nullptr) norm.mean[row] = mean;
      norm.inverse[row] = inverse;
    }
    T* y = static_cast<T*>(norm.y) + start;
    for (int64_t c = threadIdx.x; c < norm.columns; c += blockDim.x) {
      const float bias = norm.bias != nullptr ? load_weight<T>(norm.bias, float_weights, c) : 0.0F;
      y[c] = static_cast<T>((static_cast<float>(s[c]) - mean) * inverse * load_weight<T>(norm.weight, float_weights, c) + bias);
    }
  }
}

constexpr int64_t forward_warps_per_sm = 64;

template <class T>
void forward(const NormForward& norm, Stream stream) {
  const auto grid = [&](int rows, int threads) {
    const int64_t most = multiprocessors() * (forward_warps_per_sm * 32 / threads);
    return Grid{static_cast<unsigned>(std::min((norm.rows + rows - 1) / rows, most))};
  };
  const bool packed = in_packs<T>(norm.columns, norm.x, norm.residual, norm.sum, norm.weight, norm.bias, norm.y);
  const bool done = packed && with_row_shape(norm.columns / Pack<T>::size, [&]<class Shape>(Shape) {
    launch(forward_rows<T, Shape>, grid(Shape::rows, Shape::threads), Shape::threads, stream, norm);
  });
  if (!done) launch(forward_any<T>, grid(1, any_warps * 32), any_warps * 32, stream, norm);
}

}  // namespace

void norm_forward(const NormForward& norm, Stream stream) {
  with_element(norm.type, [&]<class T>(T*) { forward<T>(norm, stream); });
}

}  // namespace trireme::cuda

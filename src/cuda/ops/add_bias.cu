#include "cuda/ops/bias.h"

#include "cuda/ops/elementwise.h"

#include <type_traits>

namespace trireme::cuda {

namespace {

// Of the bias, which all rows read: it may stay in the cache.
template <int size, class T>
__device__ void load_kept(const T* from, float (&to)[size]) {
  if constexpr (size == 1) {
    to[0] = static_cast<float>(*from);
  } else {
#pragma unroll
    for (int part = 0; part < size; part += Pack<T>::size) {
      const Pack<T> pack = *reinterpret_cast<const Pack<T>*>(from + part);
#pragma unroll
      for (int j = 0; j < Pack<T>::size; ++j) to[part + j] = static_cast<float>(pack.values[j]);
    }
  }
}

// Eight elements by 16-byte accesses, or one.
template <int size, class T>
__device__ void load_some(const T* from, float (&to)[size]) {
  if constexpr (size == 1) {
    to[0] = static_cast<float>(*from);
  } else {
#pragma unroll
    for (int part = 0; part < size; part += Pack<T>::size) {
      float values[Pack<T>::size];
      load_floats(from + part, values);
#pragma unroll
      for (int j = 0; j < Pack<T>::size; ++j) to[part + j] = values[j];
    }
  }
}
template <int size, class T>
__device__ void store_some(const float (&from)[size], T* to) {
  if constexpr (size == 1) {
    *to = static_cast<T>(from[0]);
  } else {
#pragma unroll
    for (int part = 0; part < size; part += Pack<T>::size) {
      float values[Pack<T>::size];
#pragma unroll
      for (int j = 0; j < Pack<T>::size; ++j) values[j] = from[part + j];
      store_floats(to + part, values);
    }
  }
}

template <class R, class T, int size>
__global__ void __launch_bounds__(elementwise_threads)
    add(const R* residual, const T* x, const T* bias, R* y, int64_t pieces, int64_t pieces_of_row) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x, column_step = step % pieces_of_row;
  int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  int64_t column = i % pieces_of_row;
  for (; i < pieces; i += step) {
    float base[size], value[size], shift[size];
    load_some(residual + i * size, base);
    load_some(x + i * size, value);
    load_kept(bias + column * size, shift);
#pragma unroll
    for (int j = 0; j < size; ++j) base[j] += value[j] + shift[j];
    store_some(base, y + i * size);
    column += column_step;
    if (column >= pieces_of_row) column -= pieces_of_row;
  }
}

template <class R, class T>
void launch_add(const AddBias& all, Stream stream) {
  constexpr int size = 8;
  const auto run = [&](auto kernel, int64_t of_piece) {
    const int64_t of_row = all.columns / of_piece, pieces = all.rows * of_row;
    launch(kernel, {blocks_for(pieces)}, elementwise_threads, stream, static_cast<const R*>(all.residual),
           static_cast<const T*>(all.x), static_cast<const T*>(all.bias), static_cast<R*>(all.y), pieces, of_row);
  };
  if (all.columns % size == 0 && are_aligned(all.residual, all.x, all.bias, all.y))
    run(add<R, T, size>, size);
  else
    run(add<R, T, 1>, 1);
}

}  // namespace

void add_bias(const AddBias& sizes, Stream stream) {
  if (sizes.residual_type != Element::float32 && sizes.residual_type != sizes.type)
    throw std::invalid_argument("add_bias to a residual of another type");
  with_element(sizes.type, [&]<class T>(T*) {
    if (sizes.residual_type == Element::float32)
      launch_add<float, T>(sizes, stream);
    else
      launch_add<T, T>(sizes, stream);
  });
}

}  // namespace trireme::cuda

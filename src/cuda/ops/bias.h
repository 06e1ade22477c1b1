#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

namespace trireme::cuda {

struct AddBias {
  Element residual_type = Element::float32, type = Element::float32;  ///< of residual and y; of x and bias
  const void* residual = nullptr;
  const void* x = nullptr;
  const void* bias = nullptr;  ///< [columns]
  void* y = nullptr;
  int64_t rows = 0, columns = 0;
};
/// y = residual + (x + bias), dense [rows, columns] all. `type` is `residual_type`, or that is float32.
void add_bias(const AddBias& sizes, Stream stream);

/// Into how many slices column_sums() cuts the rows: `partial` holds so many times `columns` floats.
[[nodiscard]] int64_t column_slices(int64_t rows, int64_t columns);
/// The sums of the columns of x [rows, columns], in an order that depends on the sizes and the device alone.
void column_sums(Element type, const void* x, int64_t rows, int64_t columns, float* partial, Element sum_type, void* sums,
                 Stream stream);

}  // namespace trireme::cuda

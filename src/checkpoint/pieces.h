#pragma once

#include <trireme/core/state.h>

#include <algorithm>
#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::checkpoint {

/// Cuts a tensor into boxes of at most `most` elements whose values, one box after the other, are
/// the tensor's in row-major order, and calls f(box) for each. None for a tensor without elements.
template <class F>
void for_each_piece(at::IntArrayRef shape, int64_t most, const F& f) {
  core::Box box = core::Box::whole(shape);
  if (box.elements() == 0) return;
  // Dimensions from `cut` on are whole in every piece; the one before is cut into runs of rows.
  size_t cut = shape.size();
  int64_t row = 1;
  while (cut > 0 && row * shape[cut - 1] <= most) row *= shape[--cut];
  if (cut == 0) return f(box);
  const size_t rows_of = cut - 1;
  const int64_t rows_at_once = std::max<int64_t>(1, most / row);
  for (size_t d = 0; d < rows_of; ++d) box.size[d] = 1;
  for (;;) {
    for (int64_t first = 0; first < shape[rows_of]; first += rows_at_once) {
      box.offset[rows_of] = first;
      box.size[rows_of] = std::min(rows_at_once, shape[rows_of] - first);
      f(box);
    }
    size_t d = rows_of;
    while (d > 0 && ++box.offset[d - 1] == shape[d - 1]) box.offset[--d] = 0;
    if (d == 0) return;
  }
}

}  // namespace trireme::checkpoint

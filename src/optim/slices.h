#pragma once

#include <trireme/core/parameters.h>

#include "optim/update_kernel.h"

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

/// What the optimizer keeps for one trained parameter. All tensors have the parameter's shape and
/// strides, so that an update walks them as plain memory.
struct Entry {
  core::Parameter parameter;
  size_t settings = 0;  ///< index of its distinct settings
  at::Tensor master;    ///< float32; undefined where the parameter takes the updates itself
  std::vector<at::Tensor> slots;  ///< float32 or bfloat16, in the rule's order
};

/// A run of at most chunk_elements of one entry: the unit of work of a thread. Fixed, so that sums
/// over chunks do not depend on the number of threads.
struct Chunk {
  size_t entry = 0;
  int64_t offset = 0;
  int64_t elements = 0;
};

inline constexpr int64_t chunk_elements = 16384;

[[nodiscard]] std::vector<Chunk> plan_chunks(const std::vector<int64_t>& sizes);

/// One tensor of this type a parameter, zero, all in one allocation at multiples of 64 bytes.
[[nodiscard]] std::vector<at::Tensor> tensors_like(const std::vector<at::Tensor>& models,
                                                   at::ScalarType type);

[[nodiscard]] Slice part_of(const Slice& whole, const Chunk& chunk);

}  // namespace trireme::optim

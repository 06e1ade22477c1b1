#pragma once

#include "optim/update_kernel.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace trireme::optim {

/// A run of at most chunk_elements of one entry: the unit of work of a thread. Fixed, so that sums
/// over chunks do not depend on the number of threads.
struct Chunk {
  size_t entry = 0;
  int64_t offset = 0;
  int64_t elements = 0;
};

inline constexpr int64_t chunk_elements = 16384;

[[nodiscard]] std::vector<Chunk> plan_chunks(const std::vector<int64_t>& sizes);

[[nodiscard]] Slice part_of(const Slice& whole, const Chunk& chunk);

}  // namespace trireme::optim

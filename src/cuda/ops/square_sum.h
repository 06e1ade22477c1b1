#pragma once

#include "cuda/stream_type.h"

#include <cstdint>

namespace trireme::cuda {

struct FloatBuffer {
  const float* at = nullptr;
  int64_t n = 0;
};
/// How many doubles square_sum() needs for its parts.
[[nodiscard]] int64_t square_sum_parts(const FloatBuffer* buffers, int64_t count);
/// The sum of squares of all elements of the buffers, which `buffers` lists on the host. The order of additions depends on the
/// sizes, alignments and the device alone.
void square_sum(const FloatBuffer* buffers, int64_t count, double* parts, double* sum, Stream stream);

}  // namespace trireme::cuda

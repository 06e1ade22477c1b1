#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

#include <cstdint>

namespace trireme::cuda {

/// result[i] = the sum of dy's rows at whose positions the index is i, in the order of the positions (float32 sums, of tiles of
/// embedding_tile positions first). `keys`: the indices sorted; `places`: where each stood, ascending among equals.
struct EmbeddingBackward {
  Element type = Element::float32;  ///< of dy and result
  const void* dy = nullptr;         ///< [count, columns]
  const int32_t* keys = nullptr;
  const int64_t* places = nullptr;
  void* result = nullptr;     ///< [rows, columns], zero where no index points
  float* partials = nullptr;  ///< scratch of embedding_partials() floats
  int64_t count = 0, columns = 0, rows = 0;
};
inline constexpr int64_t embedding_tile = 64;
[[nodiscard]] int64_t embedding_partials(int64_t count, int64_t columns);
void embedding_backward(const EmbeddingBackward& backward, Stream stream);

}  // namespace trireme::cuda

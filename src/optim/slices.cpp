#include "optim/slices.h"

#include <algorithm>

namespace trireme::optim {

std::vector<Chunk> plan_chunks(const std::vector<int64_t>& sizes) {
  std::vector<Chunk> chunks;
  for (size_t entry = 0; entry < sizes.size(); ++entry)
    for (int64_t from = 0; from < sizes[entry]; from += chunk_elements)
      chunks.push_back({entry, from, std::min(chunk_elements, sizes[entry] - from)});
  return chunks;
}

Slice part_of(const Slice& whole, const Chunk& chunk) {
  Slice part = whole;
  if (part.values != nullptr) part.values += chunk.offset;
  part.gradient += chunk.offset;
  if (part.first != nullptr) part.first += chunk.offset;
  if (part.second != nullptr) part.second += chunk.offset;
  if (part.copy != nullptr)
    part.copy = static_cast<char*>(part.copy) + chunk.offset * 2;  // both copy types have 2 bytes
  part.elements = chunk.elements;
  return part;
}

}  // namespace trireme::optim

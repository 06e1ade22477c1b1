#include "optim/slices.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::optim {

namespace {
constexpr int64_t alignment_bytes = 64;
}

std::vector<Chunk> plan_chunks(const std::vector<int64_t>& sizes) {
  std::vector<Chunk> chunks;
  for (size_t entry = 0; entry < sizes.size(); ++entry)
    for (int64_t from = 0; from < sizes[entry]; from += chunk_elements)
      chunks.push_back({entry, from, std::min(chunk_elements, sizes[entry] - from)});
  return chunks;
}

std::vector<at::Tensor> tensors_like(const std::vector<at::Tensor>& models, at::ScalarType type) {
  const int64_t alignment = alignment_bytes / static_cast<int64_t>(c10::elementSize(type));
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const at::Tensor& model : models) {
    offsets.push_back(total);
    total += (model.numel() + alignment - 1) / alignment * alignment;
  }
  std::vector<at::Tensor> made;
  if (models.empty()) return made;
  const at::Tensor flat =
      at::zeros({total}, models.front().options().dtype(type).requires_grad(false));
  for (size_t i = 0; i < models.size(); ++i)
    made.push_back(flat.as_strided(models[i].sizes(), models[i].strides(), offsets[i]));
  return made;
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

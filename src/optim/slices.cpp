#include "optim/slices.h"

#include <trireme/core/error.h>

#include <algorithm>

#include <ATen/ATen.h>

namespace trireme::optim {

namespace {
constexpr int64_t alignment = 16;  // float32 elements of 64 bytes
}

std::vector<Chunk> plan_chunks(const std::vector<int64_t>& sizes) {
  std::vector<Chunk> chunks;
  for (size_t entry = 0; entry < sizes.size(); ++entry)
    for (int64_t from = 0; from < sizes[entry]; from += chunk_elements)
      chunks.push_back({entry, from, std::min(chunk_elements, sizes[entry] - from)});
  return chunks;
}

std::vector<at::Tensor> tensors_like(const std::vector<at::Tensor>& models) {
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const at::Tensor& model : models) {
    offsets.push_back(total);
    total += (model.numel() + alignment - 1) / alignment * alignment;
  }
  std::vector<at::Tensor> made;
  if (models.empty()) return made;
  const at::Tensor flat =
      at::zeros({total}, models.front().options().dtype(at::kFloat).requires_grad(false));
  for (size_t i = 0; i < models.size(); ++i)
    made.push_back(flat.as_strided(models[i].sizes(), models[i].strides(), offsets[i]));
  return made;
}

Slice slice_of(const Entry& entry) {
  const at::Tensor& parameter = entry.parameter.tensor;
  const at::Tensor& gradient = parameter.grad();
  if (!gradient.defined() || gradient.scalar_type() != at::kFloat ||
      gradient.sizes() != parameter.sizes() || gradient.strides() != parameter.strides())
    throw Error(ErrorKind::unexpected,
                "parameter '" + entry.parameter.name +
                    "' has no float32 gradient laid out like itself when the optimizer steps",
                "bind the gradients with parallel::GradientReducer and never replace them");
  Slice slice{};
  slice.gradient = gradient.data_ptr<float>();
  slice.first = entry.slots.empty() ? nullptr : entry.slots[0].data_ptr<float>();
  slice.second = entry.slots.size() < 2 ? nullptr : entry.slots[1].data_ptr<float>();
  slice.copy_type = parameter.scalar_type();
  slice.elements = parameter.numel();
  if (entry.master.defined()) {
    slice.values = entry.master.data_ptr<float>();
    slice.copy = parameter.data_ptr();
  } else {
    slice.values = parameter.data_ptr<float>();
  }
  return slice;
}

Slice part_of(const Slice& whole, const Chunk& chunk) {
  Slice part = whole;
  part.values += chunk.offset;
  part.gradient += chunk.offset;
  if (part.first != nullptr) part.first += chunk.offset;
  if (part.second != nullptr) part.second += chunk.offset;
  if (part.copy != nullptr)
    part.copy = static_cast<char*>(part.copy) + chunk.offset * 2;  // both copy types have 2 bytes
  part.elements = chunk.elements;
  return part;
}

}  // namespace trireme::optim

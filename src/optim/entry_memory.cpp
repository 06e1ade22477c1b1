#include "optim/entry_memory.h"

#include "optim/stochastic_rounding.h"

#include <ATen/ATen.h>

namespace trireme::optim {

namespace {

constexpr std::array<float * Slice::*, 3> arrays = {&Slice::values, &Slice::first, &Slice::second};

}  // namespace

EntryMemory memory_of(const Entry& entry, int64_t update) {
  check_gradient(entry.parameter);
  const at::Tensor& parameter = entry.parameter.tensor;
  EntryMemory memory;
  Slice& floats = memory.floats;
  floats.gradient = parameter.grad().data_ptr<float>();
  floats.elements = parameter.numel();
  if (entry.master.defined()) {
    floats.copy = parameter.data_ptr();
    floats.copy_type = parameter.scalar_type();
  }
  memory.begin = first_element(entry.parameter);

  const auto put = [&](size_t array, const at::Tensor& tensor) {
    if (tensor.scalar_type() == at::kFloat) {
      floats.*arrays[array] = tensor.data_ptr<float>();
      return;
    }
    memory.any_narrow = true;
    memory.narrow[array] = {
        static_cast<uint16_t*>(tensor.data_ptr()),
        rounding_key(entry.parameter).fold(array).fold(static_cast<uint64_t>(update))};
  };
  put(0, entry.master.defined() ? entry.master : parameter);
  for (size_t s = 0; s < entry.slots.size(); ++s) put(s + 1, entry.slots[s]);
  return memory;
}

void WidePiece::load(const EntryMemory& memory, int64_t from, Slice& piece) {
  for (size_t a = 0; a < arrays.size(); ++a) {
    if (memory.narrow[a].data == nullptr) continue;
    widen(memory.narrow[a].data + from, values_[a].data(), piece.elements);
    piece.*arrays[a] = values_[a].data();
  }
}

void WidePiece::store(const EntryMemory& memory, int64_t from, int64_t elements) const {
  for (size_t a = 0; a < arrays.size(); ++a) {
    const EntryMemory::Narrow& narrow = memory.narrow[a];
    if (narrow.data == nullptr) continue;
    round_stochastically(narrow.key, memory.begin + from, values_[a].data(), narrow.data + from,
                         elements);
  }
}

}  // namespace trireme::optim

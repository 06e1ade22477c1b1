#include <trireme/core/error.h>

#include "cuda/ops/cuda_kernels.h"
#include "cuda/ops/stream.h"
#include "cuda/ops/update.h"

#include <algorithm>
#include <type_traits>

#include <ATen/ATen.h>

namespace trireme::cuda {

namespace {

/// Copied before this returns: the rows are pageable memory.
template <class T>
at::Tensor on_device(const std::vector<T>& rows, const at::Device& device) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto bytes = static_cast<int64_t>(rows.size() * sizeof(T));
  at::Tensor there = at::empty({bytes}, at::TensorOptions(at::kByte).device(device));
  if (bytes > 0)
    there.copy_(at::from_blob(const_cast<T*>(rows.data()), {bytes}, at::kByte));  // NOLINT
  return there;
}

size_t slots_of(ops::UpdateRule::Kind kind) {
  using Kind = ops::UpdateRule::Kind;
  if (kind == Kind::sgd) return 0;
  return kind == Kind::adam || kind == Kind::adamw || kind == Kind::lamb ? 2 : 1;
}

void check_entry(const ops::UpdateEntry& entry, size_t slots) {
  const at::Tensor& parameter = entry.parameter;
  const auto is_like = [&](const at::Tensor& tensor) {
    return tensor.sizes() == parameter.sizes() && tensor.strides() == parameter.strides() &&
           tensor.device() == parameter.device();
  };
  const auto is_float = [](const at::Tensor& tensor) {
    return tensor.scalar_type() == at::kFloat;
  };
  const bool narrow = parameter.scalar_type() == at::kBFloat16;
  check(parameter.is_non_overlapping_and_dense() &&
            (narrow || is_float(parameter) || parameter.scalar_type() == at::kHalf),
        "parameters are dense, of float32, bfloat16 or float16");
  check(is_like(entry.gradient) && is_float(entry.gradient),
        "gradients are float32 and lie like their parameters");
  if (entry.master.defined())
    check(is_like(entry.master) && is_float(entry.master) && !is_float(parameter),
          "masters are float32, of parameters that are not");
  else
    check(narrow || is_float(parameter), "float16 parameters have masters");
  check(entry.slots.size() == slots, "an entry has the slots of its rule");
  for (const at::Tensor& slot : entry.slots)
    check(is_like(slot) && slot.scalar_type() == entry.slots.front().scalar_type() &&
              (is_float(slot) || slot.scalar_type() == at::kBFloat16),
          "slots are all float32 or all bfloat16 and lie like their parameters");
}

bool starts_at_four(const at::Tensor& tensor) {
  return reinterpret_cast<uintptr_t>(tensor.data_ptr()) % (4 * tensor.element_size()) == 0;
}

UpdateTensor tensor_of(const ops::UpdateEntry& entry) {
  UpdateTensor tensor;
  const at::Tensor& values = entry.master.defined() ? entry.master : entry.parameter;
  tensor.gradient = entry.gradient.data_ptr<float>();
  tensor.values = values.data_ptr();
  tensor.narrow_values = values.scalar_type() == at::kBFloat16;
  if (entry.master.defined()) {
    tensor.copy = entry.parameter.data_ptr();
    tensor.copy_type =
        entry.parameter.scalar_type() == at::kBFloat16 ? Element::bfloat16 : Element::float16;
  }
  const std::vector<at::Tensor>& slots = entry.slots;
  if (!slots.empty()) {
    tensor.first = slots[0].data_ptr();
    tensor.narrow_slots = slots[0].scalar_type() == at::kBFloat16;
  }
  if (slots.size() > 1) tensor.second = slots[1].data_ptr();
  tensor.rounding_key = entry.rounding_key;
  tensor.begin = entry.begin;
  tensor.packed = starts_at_four(entry.gradient) && starts_at_four(entry.parameter) &&
                  starts_at_four(values) && std::ranges::all_of(slots, starts_at_four);
  return tensor;
}

class Update final : public ops::MultiTensorUpdate {
 public:
  Update(const ops::UpdateRule& rule, const std::vector<ops::UpdateEntry>& entries)
      : rule_(rule), entries_(entries) {
    if (entries_.empty()) return;
    std::vector<UpdateTensor> tensors;
    std::vector<UpdateChunk> chunks;
    std::vector<UpdateSettings> settings;
    for (const ops::UpdateEntry& entry : entries_) {
      check_entry(entry, slots_of(rule.kind));
      UpdateTensor tensor = tensor_of(entry);
      const auto known = std::ranges::find_if(settings, [&](const UpdateSettings& one) {
        return one.lr_scale == entry.lr_scale && one.weight_decay == entry.weight_decay;
      });
      tensor.settings = static_cast<int32_t>(known - settings.begin());
      if (known == settings.end()) settings.push_back({entry.lr_scale, entry.weight_decay});
      tensor.first_chunk = static_cast<int64_t>(chunks.size());
      const int64_t elements = entry.parameter.numel();
      for (int64_t from = 0; from < elements; from += update_chunk)
        chunks.push_back({from, static_cast<int32_t>(tensors.size()),
                          static_cast<int32_t>(std::min(update_chunk, elements - from))});
      tensor.chunks = static_cast<int64_t>(chunks.size()) - tensor.first_chunk;
      tensors.push_back(tensor);
    }
    const at::Device device = entries_.front().parameter.device();
    tensors_ = on_device(tensors, device);
    chunks_ = on_device(chunks, device);
    settings_ = on_device(settings, device);
    const auto count = [](const auto& rows) {
      return static_cast<int64_t>(rows.size());
    };
    rules_ = at::empty({count(settings) * static_cast<int64_t>(rule_bytes)}, tensors_.options());
    if (rule.kind == ops::UpdateRule::Kind::lamb) {
      parts_ = at::empty({2 * count(chunks)}, tensors_.options().dtype(at::kDouble));
      sums_ = at::empty({2 * count(tensors)}, tensors_.options().dtype(at::kDouble));
    }
    table_ = {.tensors = static_cast<const UpdateTensor*>(tensors_.data_ptr()),
              .chunks = static_cast<const UpdateChunk*>(chunks_.data_ptr()),
              .settings = static_cast<const UpdateSettings*>(settings_.data_ptr()),
              .rules = rules_.data_ptr(),
              .tensor_count = count(tensors),
              .chunk_count = count(chunks),
              .settings_count = count(settings)};
  }

  void step(const Inputs& inputs) override {
    if (entries_.empty()) return;
    const UpdateScalars scalars = {
        .lr = scalar<double>(inputs.lr),
        .gradient_scale = scalar<float>(inputs.gradient_scale),
        .nonfinite = scalar<float>(inputs.nonfinite),
        .steps = scalar<int64_t>(inputs.steps),
    };
    const Stream stream = current_stream(tensors_);
    if (rule_.kind != ops::UpdateRule::Kind::lamb)
      return update_tensors(rule_, table_, scalars, stream);
    advance_lamb(rule_, table_, scalars, parts_.data_ptr<double>(), sums_.data_ptr<double>(),
                 stream);
    if (inputs.add_over_shards) inputs.add_over_shards(sums_);
    apply_lamb(table_, scalars, sums_.data_ptr<double>(), stream);
  }

 private:
  template <class T>
  T* scalar(const at::Tensor& tensor) const {
    check(tensor.defined() && tensor.numel() == 1 && tensor.device() == tensors_.device(),
          "step inputs are scalars on the device of the parameters");
    return tensor.data_ptr<T>();
  }

  ops::UpdateRule rule_;
  std::vector<ops::UpdateEntry> entries_;  // keeps the memory
  at::Tensor tensors_, chunks_, settings_, rules_, parts_, sums_;
  UpdateTable table_;
};

}  // namespace

std::unique_ptr<ops::MultiTensorUpdate> CudaKernels::make_update(
    const ops::UpdateRule& rule, const std::vector<ops::UpdateEntry>& entries) {
  return std::make_unique<Update>(rule, entries);
}

}  // namespace trireme::cuda

#include <trireme/core/error.h>
#include <trireme/storage/safetensors_writer.h>

#include "storage/safetensors_layout.h"

#include <unordered_map>

namespace trireme::storage {

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path,
                                     const std::vector<TensorSpec>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : SafetensorsWriter(path, Layout::plan(tensors, metadata)) {}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, Layout layout)
    : entries_(std::move(layout.entries)),
      file_(path, static_cast<int64_t>(layout.header.size()) + layout.data_bytes),
      header_hash_(hash_of(layout.header)) {
  file_.write(layout.header);
}

Hash128 SafetensorsWriter::write(const at::Tensor& values) {
  check(next_ < entries_.size(), "more tensors are written than were planned");
  const SafetensorsEntry& entry = entries_[next_++];
  check(values.scalar_type() == entry.dtype && values.sizes() == at::IntArrayRef(entry.shape),
        "another tensor is written than was planned: " + entry.name);
  check(values.is_contiguous() && values.device().is_cpu(),
        "a tensor that is written lies in one piece on the CPU: " + entry.name);
  const auto bytes = static_cast<size_t>(entry.end - entry.begin);
  if (bytes == 0) return hash_of(std::string_view());
  Hasher hasher;
  file_.write(values.const_data_ptr(), bytes, &hasher);
  return hasher.digest();
}

void SafetensorsWriter::finish() {
  check(next_ == entries_.size(), "fewer tensors were written than were planned");
  file_.finish();
}

void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string_view, const at::Tensor*> by_name;
  for (const auto& [name, values] : tensors) {
    specs.push_back({name, values.scalar_type(), values.sizes().vec()});
    by_name.emplace(name, &values);
  }
  SafetensorsWriter writer(path, specs, metadata);
  for (const SafetensorsEntry& entry : writer.entries())
    writer.write(by_name.at(entry.name)->detach().cpu().contiguous());
  writer.finish();
}

}  // namespace trireme::storage

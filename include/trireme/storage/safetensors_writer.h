#pragma once

#include <trireme/storage/file_writer.h>
#include <trireme/storage/safetensors.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::storage {

/// What is going to be written, before its values are there.
struct TensorSpec {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<int64_t> shape;
};

/// A safetensors file that is written as a stream: the header first, then the tensors one after the
/// other in the order of entries(). `__metadata__` is `{"format": "pt"}` and what is given. Errors
/// as FileWriter; names that are not UTF-8, given twice or reserved, and types that the format does
/// not have, are of kind model_refused.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorSpec>& tensors,
                    const std::map<std::string, std::string>& metadata = {});

  /// Larger elements first, then by name, so that every tensor is aligned.
  [[nodiscard]] const std::vector<SafetensorsEntry>& entries() const { return entries_; }

  /// The values of the next entry: contiguous, on the CPU, of its type and shape. Returns their
  /// hash.
  Hash128 write(const at::Tensor& values);
  /// All entries are written; see FileWriter::finish().
  void finish();

  [[nodiscard]] int64_t bytes() const { return file_.bytes(); }
  [[nodiscard]] Hash128 hash() const { return file_.hash(); }
  /// Of the header with its length field.
  [[nodiscard]] Hash128 header_hash() const { return header_hash_; }

 private:
  struct Layout;
  SafetensorsWriter(const std::filesystem::path& path, Layout layout);
  std::vector<SafetensorsEntry> entries_;
  size_t next_ = 0;
  FileWriter file_;
  Hash128 header_hash_;
};

/// Writes a new file of these tensors, durably except for its name; any device and strides.
void write_safetensors(const std::filesystem::path& path,
                       const std::vector<std::pair<std::string, at::Tensor>>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace trireme::storage

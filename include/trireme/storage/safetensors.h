#pragma once

#include <trireme/core/error.h>
#include <trireme/storage/mapped_file.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::storage {

/// The format's name of an element type ("F32"); empty for types it does not have.
[[nodiscard]] std::string_view safetensors_dtype(at::ScalarType type);
[[nodiscard]] std::optional<at::ScalarType> scalar_type_of(std::string_view safetensors_dtype);

/// A tensor in a safetensors file; `begin` and `end` count bytes from the end of the header.
struct SafetensorsEntry {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Float;
  std::vector<int64_t> shape;
  int64_t begin = 0;
  int64_t end = 0;
};

/// What the header of a safetensors file says; `entries` are ordered by place.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

/// A safetensors file, mapped. Everything the header says is checked before it is believed: known
/// types, sizes that fit shapes, tensors side by side from the first byte of data to the last, no
/// name twice.
class SafetensorsFile {
 public:
  /// Error input_missing if it cannot be read; `refusal` names file and tensor if the format is
  /// violated: model_refused for files from elsewhere, data_damaged for those we wrote.
  explicit SafetensorsFile(const std::filesystem::path& path,
                           ErrorKind refusal = ErrorKind::model_refused);

  [[nodiscard]] const std::filesystem::path& path() const { return file_->path(); }
  [[nodiscard]] const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  /// Null if there is none of this name.
  [[nodiscard]] const SafetensorsEntry* find(std::string_view name) const;

  [[nodiscard]] std::span<const std::byte> bytes(const SafetensorsEntry& entry) const;
  /// The header and its length field, as they lie in the file.
  [[nodiscard]] std::span<const std::byte> header_bytes() const;
  [[nodiscard]] int64_t file_bytes() const { return static_cast<int64_t>(file_->bytes().size()); }

  /// The tensor in place: it keeps the file mapped and must not be written (the system kills who
  /// does). A copy where its bytes are not aligned for its type.
  [[nodiscard]] at::Tensor view(const SafetensorsEntry& entry) const;
  [[nodiscard]] at::Tensor copy(const SafetensorsEntry& entry) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  SafetensorsHeader header_;
  size_t data_begin_ = 0;
  std::unordered_map<std::string_view, size_t> index_;  // of names that live in header_
};

}  // namespace trireme::storage

#pragma once

#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>
#include <trireme/storage/hash.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
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

/// A safetensors file, open for reading. Everything the header says is checked before it is
/// believed: known types, sizes that fit shapes, tensors side by side from the first byte of data
/// to the last, no name twice. Callable from several threads.
class SafetensorsFile {
 public:
  /// Error input_missing if there is no such file; `refusal` names file and tensor if the format is
  /// violated: model_refused for files from elsewhere, data_damaged for those we wrote. Here and
  /// below, Error storage if the disk fails.
  explicit SafetensorsFile(const std::filesystem::path& path,
                           ErrorKind refusal = ErrorKind::model_refused);

  [[nodiscard]] const std::filesystem::path& path() const { return file_.path(); }
  [[nodiscard]] const std::vector<SafetensorsEntry>& entries() const { return header_.entries; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const {
    return header_.metadata;
  }
  /// Null if there is none of this name.
  [[nodiscard]] const SafetensorsEntry* find(std::string_view name) const;

  /// Of the header with its length field: the data follow.
  [[nodiscard]] int64_t header_bytes() const { return header_bytes_; }
  [[nodiscard]] Hash128 header_hash() const { return header_hash_; }
  [[nodiscard]] int64_t file_bytes() const { return file_.bytes(); }

  /// Fills `into` with the entry's bytes from `offset` on. Error `refusal` if the file has become
  /// too short for them.
  void read(const SafetensorsEntry& entry, int64_t offset, std::span<std::byte> into) const;
  [[nodiscard]] at::Tensor values(const SafetensorsEntry& entry) const;

 private:
  [[noreturn]] void refuse(const std::string& reason) const;

  FileReader file_;
  ErrorKind refusal_;
  SafetensorsHeader header_;
  int64_t header_bytes_ = 0;
  Hash128 header_hash_;
  std::unordered_map<std::string_view, size_t> index_;  // of names that live in header_
};

}  // namespace trireme::storage

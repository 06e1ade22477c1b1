#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace trireme::data {

/// A whole file mapped read-only. The file must not be cut short while it is mapped (the system
/// then kills the process).
class MappedFile {
 public:
  /// Errors: input_missing if it cannot be opened, data_damaged if its size is no longer
  /// `expected_bytes`.
  MappedFile(const std::string& path, int64_t expected_bytes);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] const std::byte* data() const { return data_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
};

/// Its size. Error input_missing, with the system's reason, if the path is no readable regular
/// file.
[[nodiscard]] int64_t require_readable_file(const std::string& path);

}  // namespace trireme::data

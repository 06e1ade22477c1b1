#pragma once

#include <trireme/storage/append_file.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::storage {

/// Lines that go to FILE until it is full, which then becomes FILE.1, and FILE.1 becomes FILE.2.
/// Opened by the first line. One thread at a time.
class RotatedFile {
 public:
  struct Limits {
    int64_t bytes = int64_t{16} << 20;  ///< of a file
    int files = 4;                      ///< FILE and the older ones
  };
  explicit RotatedFile(std::filesystem::path path) : RotatedFile(std::move(path), Limits()) {}
  RotatedFile(std::filesystem::path path, Limits limits)
      : path_(std::move(path)), limits_(limits) {}

  /// Error of kind `storage`; the next line tries again.
  void append_line(std::string_view line);

 private:
  void rotate();
  std::filesystem::path path_;
  Limits limits_;
  std::optional<AppendFile> file_;
  int64_t bytes_ = 0;
};

/// What there is of FILE and its older ones, the oldest first.
[[nodiscard]] std::vector<std::filesystem::path> rotated_parts(
    const std::filesystem::path& path, int files = RotatedFile::Limits().files);

}  // namespace trireme::storage

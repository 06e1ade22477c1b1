#pragma once

#include <trireme/storage/hash.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>

namespace trireme::storage {

/// A file that is read at places. Unlike a map it makes an Error of a disk that fails and of a file
/// that is cut short while it is read, not the end of the process. Callable from several threads.
class FileReader {
 public:
  /// Error input_missing, with the system's reason, if it is no readable regular file.
  explicit FileReader(std::filesystem::path path);
  ~FileReader();
  FileReader(const FileReader&) = delete;
  FileReader& operator=(const FileReader&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// When it was opened.
  [[nodiscard]] int64_t bytes() const { return bytes_; }

  /// Fills `into` with what begins at `offset`; returns how much there was, less only where the
  /// file ends. Error storage if it cannot be read.
  [[nodiscard]] size_t read(int64_t offset, std::span<std::byte> into) const;

  /// Hands all of the file to `take`, from front to end, in pieces that fit the cache.
  void for_each_piece(const std::function<void(std::span<const std::byte>)>& take) const;
  [[nodiscard]] Hash128 hash() const;
  /// All of it.
  [[nodiscard]] std::string text() const;

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  int64_t bytes_ = 0;
};

/// What is read, hashed and passed on at a time: it stays in the cache meanwhile.
constexpr size_t read_piece_bytes = 256 << 10;

}  // namespace trireme::storage

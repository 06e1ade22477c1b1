#pragma once

#include <trireme/storage/hash.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace trireme::storage {

/// A new file, written from front to end, hashed on the way and durable after finish(). Unfinished
/// it is removed. All failures are Errors of kind `storage` that name the path and, where space ran
/// out, the bytes that are needed and free; after one the writer only waits to be destroyed.
class FileWriter {
 public:
  /// The file must not exist. `total_bytes`, if known, is laid out at once and lets errors say how
  /// much is missing.
  explicit FileWriter(std::filesystem::path path, int64_t total_bytes = 0);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  /// `also`, if given, sees the bytes while they are in the cache.
  void write(const void* data, size_t bytes, Hasher* also = nullptr);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// Syncs and closes. The name itself is durable only after sync_directory() of the folder.
  void finish();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  /// Of all bytes so far.
  [[nodiscard]] Hash128 hash() const { return hasher_.digest(); }

 private:
  [[noreturn]] void fail(std::string_view operation, int error, int64_t needed);
  void close_and_remove() noexcept;

  std::filesystem::path path_;
  int64_t total_bytes_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  int64_t at_disk_ = 0;  // that the disk was told to write
  Hasher hasher_;
};

}  // namespace trireme::storage

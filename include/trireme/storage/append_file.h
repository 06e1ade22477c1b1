#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include <sys/types.h>

namespace trireme::storage {

/// A file of lines that grows at its end, such as a .jsonl file. Whatever kills the process leaves
/// whole lines and at most one torn one at the end, which the next opening cuts off. One writer at
/// a time. Errors are of kind `storage`.
class AppendFile {
 public:
  enum class Sync { later, now };

  /// Makes the file if it does not exist.
  explicit AppendFile(std::filesystem::path path);
  ~AppendFile();
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;

  /// Adds `line`, which holds no newline, and a newline, in one write; nothing of it if that fails.
  /// Where not even that can be undone the next call does so first, or fails.
  void append_line(std::string_view line, Sync sync = Sync::later);
  void sync();

 private:
  void cut_torn_line();

  std::filesystem::path path_;
  int fd_ = -1;
  std::optional<off_t> torn_at_;  // where the line begins that a failed write left in part
};

}  // namespace trireme::storage

#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include <sys/types.h>

namespace trireme::report {

/// The end of a file of lines that somebody else appends to, or replaces: only what is new is read.
class LineTail {
 public:
  /// Of more than `most_bytes` that are new, only the last ones are read.
  LineTail(std::filesystem::path path, size_t most_bytes);

  struct News {
    bool again =
        false;  ///< it is another file, or was cut: lines given before do not count any more
    std::vector<std::string> lines;  ///< whole ones, without their newline
    double modified = 0;             ///< seconds since 1970; 0: there is no file
  };
  /// What came since the last call. A file that cannot be read is empty.
  [[nodiscard]] News poll();

 private:
  std::filesystem::path path_;
  size_t most_bytes_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  off_t read_ = 0;  // up to the end of a line
};

}  // namespace trireme::report

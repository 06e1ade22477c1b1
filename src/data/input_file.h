#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace trireme::data {

/// Its size in bytes. Error input_missing, with the system's reason, if it is no readable regular
/// file.
[[nodiscard]] int64_t require_readable_file(const std::string& path);

/// The whole file. Error input_missing with the system's reason.
[[nodiscard]] std::string read_whole_file(const std::string& path);

/// A file of binary data, read from front to end.
class InputFile {
 public:
  enum class Format { plain, plain_or_gzip };
  /// Error input_missing with the system's reason.
  explicit InputFile(const std::string& path, Format format = Format::plain);
  ~InputFile();
  /// Fills `out`. Error data_damaged if the file ends before (or its compressed form is damaged),
  /// naming the byte.
  void read(void* out, int64_t bytes);
  [[nodiscard]] bool at_end();
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Of the file as it lies on disk; of plain files also the contents' size.
  [[nodiscard]] int64_t file_bytes() const { return file_bytes_; }
  [[nodiscard]] int64_t position() const { return position_; }
  [[noreturn]] void damaged(const std::string& what) const;

 private:
  struct Stream;
  std::string path_;
  int64_t file_bytes_ = 0;
  int64_t position_ = 0;
  std::unique_ptr<Stream> stream_;
};

}  // namespace trireme::data

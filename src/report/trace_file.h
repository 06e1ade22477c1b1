#pragma once

#include <trireme/core/error.h>
#include <trireme/storage/file_writer.h>

#include "report/trace_gzip.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace trireme::report {

/// The file of a trace, at rank 0: whole under its name after finish(), or not there. Nothing
/// throws: the first failure is kept, and what comes later is not written.
class TraceFile {
 public:
  explicit TraceFile(std::filesystem::path path);

  [[nodiscard]] bool well() const { return !failure_; }
  /// What failed first.
  [[nodiscard]] const std::optional<Error>& failure() const { return failure_; }
  /// Does what belongs to the file, too: not after a failure, and what it throws is one.
  void attempt(const std::function<void()>& act);

  /// Compressed bytes of a part.
  void write(const void* data, size_t bytes);
  /// What was written since the last part is one.
  void part_ended(uint32_t crc, int64_t text_bytes) { sum_.add(crc, text_bytes); }
  /// A part by itself.
  void write_text(std::string_view text);
  void finish();

  /// After finish().
  [[nodiscard]] int64_t bytes() const { return bytes_; }
  [[nodiscard]] int64_t text_bytes() const { return sum_.bytes(); }

 private:
  const std::filesystem::path path_;
  std::filesystem::path unfinished_;
  std::optional<storage::FileWriter> writer_;
  GzipSum sum_;
  int64_t bytes_ = 0;
  std::optional<Error> failure_;
};

}  // namespace trireme::report

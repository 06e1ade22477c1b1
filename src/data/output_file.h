#pragma once

#include <trireme/data/prepare.h>

#include "data/hdf5_file.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace trireme::data {

/// A data file being written: under a temporary name until commit(); gone if it is not committed.
class OutputFile {
 public:
  /// Error storage if `path` exists and `force` is not set, or if it cannot be written. Makes the
  /// folder.
  OutputFile(const std::string& path, bool force);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  [[nodiscard]] Hdf5Writer& writer() { return *writer_; }
  /// Finishes the file, makes it durable, gives it its name. Returns its size in bytes.
  int64_t commit();

 private:
  std::string path_;
  std::string temporary_;
  bool force_;
  std::unique_ptr<Hdf5Writer> writer_;
};

/// The contents of a token file.
struct TokenFile {
  std::vector<uint32_t> tokens;
  std::vector<int64_t> documents;  ///< where each starts; written if there are several
  int64_t vocabulary = 0;
  std::string tokenizer;
};
/// Writes all of it, as uint16 if the vocabulary fits, but commits nothing.
void write_tokens(OutputFile& out, const TokenFile& file, const PrepareOptions& options);

/// Refuses options that no kind of input takes.
void check_options(const PrepareOptions& options);

}  // namespace trireme::data

#pragma once

#include "data/column.h"
#include "data/file_description.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::data {

/// An opened HDF5 file: its structure was read in a child process, its first and last blocks agree
/// with their checksums.
class DataFile {
 public:
  /// Errors: input_missing, data_damaged; all name the path.
  [[nodiscard]] static std::shared_ptr<const DataFile> open(const std::string& path);

  explicit DataFile(FileDescription description);

  [[nodiscard]] const std::string& path() const { return description_.path; }
  [[nodiscard]] const FileDescription& description() const { return description_; }
  [[nodiscard]] bool has(std::string_view name) const;
  /// The data set; Error input_missing that lists those there are.
  [[nodiscard]] const Column& at(std::string_view name) const;
  /// In the order of the file, which is that of the names.
  [[nodiscard]] const std::vector<std::unique_ptr<Column>>& columns() const { return columns_; }
  /// Of names, shapes, attributes and stored checksums; without checksums, of pieces of the
  /// contents.
  [[nodiscard]] std::string fingerprint() const;

 private:
  FileDescription description_;
  std::shared_ptr<const storage::MappedFile> map_;
  std::vector<std::unique_ptr<Column>> columns_;
};

/// What a full verification of a file found to be in order; damage is an Error.
struct Verification {
  int64_t datasets = 0;
  int64_t blocks = 0;
  int64_t bytes = 0;
  bool has_checksums = false;
};
/// Reads and verifies every block. What needs the library is read in a child process.
[[nodiscard]] Verification verify_data_file(const std::string& path);

}  // namespace trireme::data

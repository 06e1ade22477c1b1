#pragma once

#include <trireme/storage/hash.h>

#include "data/element.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace trireme::data {

struct Attribute {
  std::string name;
  std::variant<int64_t, double, std::string> value;
};

/// One data set of a file: all that is needed to read it.
struct DatasetDescription {
  std::string name;
  Element element = Element::other;
  std::vector<int64_t> shape;
  std::vector<Attribute> attributes;
  int64_t offset = -1;  ///< first byte in the file; -1: only the library can read it
  std::vector<storage::Hash128>
      checksums;  ///< XXH3-128 of each block of the elements' bytes; empty: none stored

  [[nodiscard]] int64_t rows() const { return shape.empty() ? 0 : shape[0]; }
  [[nodiscard]] int64_t row_elements() const;
  [[nodiscard]] int64_t row_bytes() const { return row_elements() * bytes_of(element); }
  [[nodiscard]] int64_t bytes() const { return rows() * row_bytes(); }
  /// The integer attribute of this name, or nothing.
  [[nodiscard]] const int64_t* integer(std::string_view attribute) const;
};

/// What an HDF5 file holds at its root, read once when it is opened.
struct FileDescription {
  std::string path;
  int64_t file_bytes = 0;
  std::vector<DatasetDescription> datasets;
  int64_t block_bytes = 0;  ///< of the stored checksums; 0: the file has none
  std::string
      stored_summary_hash;  ///< hash of `summary` at the time of writing; empty without checksums
};

/// Names, types, shapes and attributes in a canonical form: what the file says it is, less the
/// contents.
[[nodiscard]] std::string summary(const FileDescription& file);

/// Refuses (kind data_damaged) shapes that overflow, data that reaches beyond the end of the file,
/// checksums that do not fit, and attributes or shapes that are not those that were written.
void validate(const FileDescription& file);

/// To bytes and back; decode throws data_damaged for anything that encode did not write.
[[nodiscard]] std::string encode(const FileDescription& file);
[[nodiscard]] FileDescription decode(std::string_view bytes);

/// The hint of errors about files that are not what they should be.
inline constexpr std::string_view remake_hint =
    "make the file again with `trireme prepare`, or copy it again and check it with `trireme "
    "inspect --verify`";

}  // namespace trireme::data

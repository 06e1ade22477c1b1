#pragma once

#include <trireme/data/dataset.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace trireme::data {

/// The files that paths and globs name, in the order given, matches of a glob sorted; synthetic
/// names stay as they are. Error input_missing for a path that does not exist and a glob that
/// matches nothing.
[[nodiscard]] std::vector<std::string> expand_paths(const std::vector<std::string>& paths);

/// One data set of all samples of these files (paths, globs, or one synthetic name), one file after
/// the other. `sequence_length` is needed for token files. Errors: configuration (nothing given, no
/// sequence_length, too little data, files that do not match), input_missing, data_damaged.
[[nodiscard]] std::shared_ptr<const Dataset> open_dataset(const std::vector<std::string>& paths,
                                                          std::optional<int64_t> sequence_length);

/// What is in a data file, for people and for `inspect`.
struct FileSummary {
  struct Entry {
    std::string name;
    std::string type;
    std::vector<int64_t> shape;
    bool mapped = false;  ///< read by memory map; otherwise through the library
    bool checksums = false;
    std::vector<std::pair<std::string, std::string>> attributes;
  };
  std::string path;
  int64_t bytes = 0;
  std::vector<Entry> datasets;
  std::string fingerprint;
  int64_t blocks_verified = 0;  ///< by `verify`
};
[[nodiscard]] FileSummary inspect_file(const std::string& path);
/// The same after reading the whole file and comparing every block with its checksum. Error
/// data_damaged that names data set and block; Error configuration if the file has no checksums.
[[nodiscard]] FileSummary verify_file(const std::string& path);

}  // namespace trireme::data

#pragma once

#include <trireme/storage/mapped_file.h>

#include "data/file_description.h"
#include "data/hdf5_file.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace trireme::data {

/// One data set of one file, read by rows, from the memory map where the layout allows it and
/// through the library otherwise. A block with a stored checksum is verified before the first row
/// of it is handed out. Safe for threads.
class Column {
 public:
  /// `map` may be null if the description has no offset. The file's path is for errors.
  Column(const std::string& path, const DatasetDescription& description, int64_t block_bytes,
         std::shared_ptr<const storage::MappedFile> map);

  [[nodiscard]] const DatasetDescription& description() const { return description_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool mapped() const { return map_ != nullptr; }

  /// The bytes of rows [first, first + count) as the file has them (native byte order): a view into
  /// the map, or of `scratch`, which is then overwritten. Error data_damaged names file, data set
  /// and block.
  [[nodiscard]] const std::byte* rows(int64_t first, int64_t count,
                                      std::vector<std::byte>& scratch) const;

  [[nodiscard]] int64_t blocks() const {
    return static_cast<int64_t>(description_.checksums.size());
  }
  /// Compares block `block` with its checksum, whether or not that was done before.
  void verify_block(int64_t block) const;
  void verify_all() const;

 private:
  void read_rows(int64_t first, int64_t count, std::vector<std::byte>& out) const;
  void verify_once(int64_t first_byte, int64_t bytes) const;

  std::string path_;
  DatasetDescription description_;
  int64_t block_bytes_;
  std::shared_ptr<const storage::MappedFile> map_;
  std::unique_ptr<Hdf5Reader> reader_;
  mutable std::vector<std::atomic<uint8_t>> verified_;  // one a block
};

}  // namespace trireme::data

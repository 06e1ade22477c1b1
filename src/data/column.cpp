#include "data/column.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <span>

#include <fmt/core.h>

namespace trireme::data {

Column::Column(const std::string& path, const DatasetDescription& description, int64_t block_bytes,
               std::shared_ptr<const storage::MappedFile> map)
    : path_(path),
      description_(description),
      block_bytes_(block_bytes),
      verified_(description.checksums.size()) {
  if (description.offset >= 0) {
    check(map != nullptr, "mapped data needs the map");
    map_ = std::move(map);
  } else {
    reader_ = std::make_unique<Hdf5Reader>(path, description);
  }
}

const std::byte* Column::rows(int64_t first, int64_t count, std::vector<std::byte>& scratch) const {
  const DatasetDescription& d = description_;
  check(first >= 0 && count >= 0 && count <= d.rows() - first, "rows outside of the data set");
  const int64_t row = d.row_bytes();
  verify_once(first * row, count * row);
  if (map_ != nullptr) return map_->bytes().data() + d.offset + first * row;
  read_rows(first, count, scratch);
  return scratch.data();
}

void Column::read_rows(int64_t first, int64_t count, std::vector<std::byte>& out) const {
  out.resize(static_cast<size_t>(count * description_.row_bytes()));
  reader_->read(first, count, out.data());
}

void Column::verify_once(int64_t first_byte, int64_t bytes) const {
  if (verified_.empty() || bytes == 0) return;
  const int64_t last = (first_byte + bytes - 1) / block_bytes_;
  for (int64_t block = first_byte / block_bytes_; block <= last; ++block) {
    auto& done = verified_[static_cast<size_t>(block)];
    if (done.load(std::memory_order_relaxed) != 0)
      continue;  // two threads may both verify: harmless
    verify_block(block);
    done.store(1, std::memory_order_relaxed);
  }
}

void Column::verify_block(int64_t block) const {
  const int64_t begin = block * block_bytes_;
  const int64_t end = std::min(begin + block_bytes_, description_.bytes());
  const auto size = static_cast<size_t>(end - begin);
  storage::Hash128 hash;
  if (map_ != nullptr) {
    hash = storage::hash_of(
        map_->bytes().subspan(static_cast<size_t>(description_.offset + begin), size));
  } else {
    // Blocks do not end with rows: read the rows that cover the block.
    const int64_t row = description_.row_bytes();
    const int64_t first = begin / row;
    std::vector<std::byte> covering;
    read_rows(first, (end + row - 1) / row - first, covering);
    hash = storage::hash_of(std::span<const std::byte>(covering).subspan(
        static_cast<size_t>(begin - first * row), size));
  }
  if (hash == description_.checksums[static_cast<size_t>(block)]) return;
  throw Error(
      ErrorKind::data_damaged,
      fmt::format("{}: dataset `{}`, block {} (bytes {} to {}) is damaged: its checksum differs",
                  path_, description_.name, block, begin, end - 1),
      std::string(remake_hint));
}

void Column::verify_all() const {
  for (int64_t block = 0; block < blocks(); ++block) verify_block(block);
}

}  // namespace trireme::data

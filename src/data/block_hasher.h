#pragma once

#include <trireme/storage/hash.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace trireme::data {

/// The hashes of a stream of bytes, block by block; the last block may be short.
class BlockHasher {
 public:
  explicit BlockHasher(int64_t block_bytes) : block_bytes_(static_cast<size_t>(block_bytes)) {}
  void append(std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<storage::Hash128> finish();

 private:
  size_t block_bytes_;
  std::vector<std::byte> pending_;
  std::vector<storage::Hash128> hashes_;
};

}  // namespace trireme::data

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::data {

/// XXH3-64 of the bytes: what the `checksums` group stores for each block.
[[nodiscard]] uint64_t hash_block(std::span<const std::byte> bytes);

/// XXH3-128 as 32 hexadecimal digits.
[[nodiscard]] std::string hash_text(std::string_view text);

/// The hashes of a stream of bytes, block by block; the last block may be short.
class BlockHasher {
 public:
  explicit BlockHasher(int64_t block_bytes) : block_bytes_(static_cast<size_t>(block_bytes)) {}
  void append(std::span<const std::byte> bytes);
  [[nodiscard]] std::vector<uint64_t> finish();

 private:
  size_t block_bytes_;
  std::vector<std::byte> pending_;
  std::vector<uint64_t> hashes_;
};

}  // namespace trireme::data

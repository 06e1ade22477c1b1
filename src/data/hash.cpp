#include "data/hash.h"

#include <algorithm>

#include <fmt/core.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace trireme::data {

uint64_t hash_block(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string hash_text(std::string_view text) {
  const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

void BlockHasher::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (pending_.empty() && bytes.size() >= block_bytes_) {
      hashes_.push_back(hash_block(bytes.first(block_bytes_)));
      bytes = bytes.subspan(block_bytes_);
      continue;
    }
    const size_t take = std::min(bytes.size(), block_bytes_ - pending_.size());
    pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(take));
    bytes = bytes.subspan(take);
    if (pending_.size() < block_bytes_) continue;
    hashes_.push_back(hash_block(pending_));
    pending_.clear();
  }
}

std::vector<uint64_t> BlockHasher::finish() {
  if (!pending_.empty()) hashes_.push_back(hash_block(pending_));
  pending_.clear();
  return std::move(hashes_);
}

}  // namespace trireme::data

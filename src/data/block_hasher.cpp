#include "data/block_hasher.h"

#include <algorithm>
#include <utility>

namespace trireme::data {

void BlockHasher::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (pending_.empty() && bytes.size() >= block_bytes_) {
      hashes_.push_back(storage::hash_of(bytes.first(block_bytes_)));
      bytes = bytes.subspan(block_bytes_);
      continue;
    }
    const size_t take = std::min(bytes.size(), block_bytes_ - pending_.size());
    pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(take));
    bytes = bytes.subspan(take);
    if (pending_.size() < block_bytes_) continue;
    hashes_.push_back(storage::hash_of(std::span<const std::byte>(pending_)));
    pending_.clear();
  }
}

std::vector<storage::Hash128> BlockHasher::finish() {
  if (!pending_.empty()) hashes_.push_back(storage::hash_of(std::span<const std::byte>(pending_)));
  pending_.clear();
  return std::move(hashes_);
}

}  // namespace trireme::data

#include "checkpoint/box_bytes.h"

#include <trireme/core/error.h>
#include <trireme/storage/file_reader.h>

#include <algorithm>
#include <cstring>

namespace trireme::checkpoint {
namespace {

/// Less than this goes through the buffer: a call of the system costs more than a copy.
constexpr size_t smallest_direct_read = 64 << 10;

}  // namespace

BoxBytes::BoxBytes(const storage::SafetensorsFile& file, const storage::SafetensorsEntry& entry,
                   bool hash)
    : file_(file), entry_(entry), size_(entry.end - entry.begin) {
  if (hash) hasher_.emplace();
}

void BoxBytes::take(int64_t offset, std::span<std::byte> into) {
  skip_to(offset);
  while (!into.empty()) {
    size_t taken = 0;
    if (remaining_.empty() && into.size() >= smallest_direct_read) {
      taken = std::min(into.size(), storage::read_piece_bytes);
      read(into.first(taken));
    } else {
      if (remaining_.empty()) refill();
      taken = std::min(into.size(), remaining_.size());
      std::memcpy(into.data(), remaining_.data(), taken);
      remaining_ = remaining_.subspan(taken);
    }
    into = into.subspan(taken);
  }
}

storage::Hash128 BoxBytes::hash() {
  check(hasher_.has_value(), "the bytes of a box were hashed");
  skip_to(size_);
  return hasher_->digest();
}

void BoxBytes::skip_to(int64_t offset) {
  for (;;) {
    const int64_t here = read_ - static_cast<int64_t>(remaining_.size());
    check(offset >= here, "the bytes of a box are taken in order");
    const size_t skipped = std::min(static_cast<size_t>(offset - here), remaining_.size());
    remaining_ = remaining_.subspan(skipped);
    if (here + static_cast<int64_t>(skipped) == offset) return;
    if (!hasher_) {
      read_ = offset;
      return;
    }
    refill();
  }
}

void BoxBytes::read(std::span<std::byte> into) {
  file_.read(entry_, read_, into);
  if (hasher_) hasher_->update(into.data(), into.size());
  read_ += static_cast<int64_t>(into.size());
}

void BoxBytes::refill() {
  const auto bytes = std::min<int64_t>(storage::read_piece_bytes, size_ - read_);
  check(bytes > 0, "what is taken of a box lies in it");
  buffer_.resize(static_cast<size_t>(bytes));
  read(buffer_);
  remaining_ = buffer_;
}

}  // namespace trireme::checkpoint

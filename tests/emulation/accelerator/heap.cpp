#include "heap.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include <sys/mman.h>

namespace trireme::emulated {
namespace {

constexpr size_t alignment = 512;  // as CUDA's
constexpr size_t page = 4096;
constexpr size_t arena_bytes = size_t{64} << 30;  // addresses only

size_t rounded(size_t bytes, size_t to) {
  return (bytes + to - 1) / to * to;
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

}  // namespace

std::byte* Heap::take(size_t bytes) {
  if (!guarded_) {
    void* memory = std::aligned_alloc(alignment, rounded(bytes, alignment));
    if (memory == nullptr) throw std::bad_alloc();
    return static_cast<std::byte*>(memory);
  }
  const size_t size = rounded(bytes, page);
  if (auto& spare = spare_[size]; !spare.empty()) {
    std::byte* begin = spare.back();
    spare.pop_back();
    return begin;
  }
  if (arena_ == nullptr) {
    void* memory =
        mmap(nullptr, arena_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    arena_ = static_cast<std::byte*>(memory);
  }
  if (used_ + size > arena_bytes) throw std::bad_alloc();
  std::byte* begin = arena_ + used_;
  used_ += size;
  if (opened_ > 0) mprotect(begin, size, PROT_READ | PROT_WRITE);
  return begin;
}

void Heap::give(std::byte* begin, size_t bytes) {
  if (guarded_)
    spare_[rounded(bytes, page)].push_back(begin);
  else
    std::free(begin);
}

void* Heap::allocate(size_t bytes, int device, uint64_t pool) {
  if (bytes == 0) return nullptr;
  open();
  std::byte* begin = nullptr;
  {
    const std::lock_guard lock(mutex_);
    begin = take(bytes);
    blocks_.emplace(begin, Block{begin, bytes, ++ids_, pool, device, false});
  }
  std::memset(begin, 0xff, bytes);
  close();
  return begin;
}

Heap::Block Heap::free(void* begin) {
  const std::lock_guard lock(mutex_);
  const auto found = blocks_.find(static_cast<std::byte*>(begin));
  found->second.freed = true;
  const Block block = found->second;
  if (block.pool != 0) return block;
  blocks_.erase(found);
  give(block.begin, block.bytes);
  return block;
}

void Heap::drop_pool(uint64_t pool) {
  const std::lock_guard lock(mutex_);
  for (auto it = blocks_.begin(); it != blocks_.end();) {
    Block& block = it->second;
    if (block.pool == pool) block.pool = 0;
    if (block.pool == 0 && block.freed) {
      give(block.begin, block.bytes);
      it = blocks_.erase(it);
    } else {
      ++it;
    }
  }
}

std::optional<Heap::Block> Heap::find(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  const std::lock_guard lock(mutex_);
  auto after = blocks_.upper_bound(at);
  if (after == blocks_.begin()) return {};
  const Block& block = (--after)->second;
  if (at >= block.begin + block.bytes) return {};
  return block;
}

size_t Heap::bytes_kept_freed() {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& [begin, block] : blocks_)
    if (block.freed) bytes += block.bytes;
  return bytes;
}

void Heap::open() {
  if (!guarded_) return;
  const std::lock_guard lock(mutex_);
  if (opened_++ == 0 && used_ > 0) mprotect(arena_, used_, PROT_READ | PROT_WRITE);
}

void Heap::close() {
  if (!guarded_) return;
  const std::lock_guard lock(mutex_);
  if (--opened_ == 0 && used_ > 0) mprotect(arena_, used_, PROT_NONE);
}

Heap& device_heap() {
  static auto* const heap = new Heap(is_set("TRIREME_EMULATED_PROTECT"));
  return *heap;
}

Heap& pinned_heap() {
  static auto* const heap = new Heap(false);
  return *heap;
}

}  // namespace trireme::emulated

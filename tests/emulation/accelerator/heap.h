#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace trireme::emulated {

/// Memory blocks that know who they are. Blocks made while a graph is recorded belong to its pool:
/// freed ones stay until the pool goes, as the graph still works on them. Thread-safe.
class Heap {
 public:
  struct Block {
    std::byte* begin = nullptr;
    size_t bytes = 0;
    uint64_t id = 0;    ///< never used again
    uint64_t pool = 0;  ///< 0: none
    int device = 0;
    bool freed = false;
  };

  /// With `guarded`, its memory can be touched only while an Access lives.
  explicit Heap(bool guarded) : guarded_(guarded) {}

  /// Fresh memory is filled with ones: floating point numbers start as NaN.
  [[nodiscard]] void* allocate(size_t bytes, int device, uint64_t pool);
  /// What it was.
  Block free(void* begin);
  void drop_pool(uint64_t pool);
  /// The block that this address lies in; freed ones of pools too.
  [[nodiscard]] std::optional<Block> find(const void* address);
  [[nodiscard]] size_t bytes_kept_freed();

  /// Guarded memory is open while a thread holds one of these; they nest.
  void open();
  void close();

 private:
  std::byte* take(size_t bytes);
  void give(std::byte* begin, size_t bytes);

  const bool guarded_;
  std::mutex mutex_;
  std::map<const std::byte*, Block> blocks_;
  uint64_t ids_ = 0;
  // Guarded memory is one range of addresses, so that one call opens it.
  std::byte* arena_ = nullptr;
  size_t used_ = 0;
  std::map<size_t, std::vector<std::byte*>> spare_;
  int opened_ = 0;
};

/// Device memory and pinned memory of the process; never destroyed.
[[nodiscard]] Heap& device_heap();
[[nodiscard]] Heap& pinned_heap();

/// The device touches its memory.
class Access {
 public:
  Access() { device_heap().open(); }
  ~Access() { device_heap().close(); }
  Access(const Access&) = delete;
  Access& operator=(const Access&) = delete;
};

}  // namespace trireme::emulated

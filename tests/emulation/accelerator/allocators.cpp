#include "allocators.h"

#include "emulated.h"
#include "heap.h"
#include "streams.h"
#include "tape.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include <c10/core/CachingDeviceAllocator.h>

namespace trireme::emulated {
namespace {

using Stats = c10::CachingDeviceAllocator::DeviceStats;
using c10::CachingAllocator::StatArray;

constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

// Of one device. Nothing is cached: what is reserved is what is allocated. What graphs keep:
// graph_bytes().
struct Count {
  std::mutex mutex;
  Stats stats;
};

void grow(Stats& stats, size_t bytes) {
  for (StatArray* array :
       {&stats.allocated_bytes, &stats.active_bytes, &stats.reserved_bytes, &stats.requested_bytes})
    (*array)[all].increase(bytes);
  for (StatArray* array : {&stats.allocation, &stats.active, &stats.segment})
    (*array)[all].increase(1);
}

void shrink(Stats& stats, size_t bytes) {
  for (StatArray* array :
       {&stats.allocated_bytes, &stats.active_bytes, &stats.reserved_bytes, &stats.requested_bytes})
    (*array)[all].decrease(bytes);
  for (StatArray* array : {&stats.allocation, &stats.active, &stats.segment})
    (*array)[all].decrease(1);
}

std::array<StatArray Stats::*, 8> arrays() {
  return {&Stats::allocation,      &Stats::segment,
          &Stats::active,          &Stats::allocated_bytes,
          &Stats::reserved_bytes,  &Stats::active_bytes,
          &Stats::requested_bytes, &Stats::inactive_split_bytes};
}

class DeviceMemory final : public c10::DeviceAllocator {
 public:
  at::DataPtr allocate(size_t bytes) override {
    const int device = current_device();
    const c10::Device where(device_type, static_cast<c10::DeviceIndex>(device));
    if (bytes == 0) return {nullptr, where};
    Count& count = counts_.at(static_cast<size_t>(device));
    {
      const std::lock_guard lock(count.mutex);
      const auto taken = static_cast<size_t>(count.stats.allocated_bytes[all].current);
      if (taken + bytes > limit_) {
        ++count.stats.num_ooms;
        TORCH_CHECK_WITH(OutOfMemoryError, false, "emulated device ", device,
                         " is out of memory: ", bytes, " bytes were asked for, ", taken, " of ",
                         limit_.load(), " are allocated");
      }
      grow(count.stats, bytes);
    }
    void* memory = device_heap().allocate(bytes, device, Tape::pool_here());
    return {memory, memory, &release, where};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    const Access access;
    std::memcpy(to, from, bytes);
  }

  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  Stats getDeviceStats(c10::DeviceIndex device) override {
    Count& count = of(device);
    const std::lock_guard lock(count.mutex);
    return count.stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex device) override {
    Count& count = of(device);
    const std::lock_guard lock(count.mutex);
    for (auto array : arrays()) (count.stats.*array)[all].reset_accumulated();
    count.stats.num_ooms = 0;
  }
  void resetPeakStats(c10::DeviceIndex device) override {
    Count& count = of(device);
    const std::lock_guard lock(count.mutex);
    for (auto array : arrays()) (count.stats.*array)[all].reset_peak();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override {
    Count& count = of(device);
    const std::lock_guard lock(count.mutex);
    const size_t total = memory_of_a_device();
    return {total - static_cast<size_t>(count.stats.allocated_bytes[all].current), total};
  }

  void limit(size_t bytes) { limit_ = bytes; }
  static DeviceMemory& get() {
    static auto* const one = new DeviceMemory;
    return *one;
  }

 private:
  static void release(void* memory) {
    if (memory == nullptr) return;
    const Heap::Block block = device_heap().free(memory);
    Count& count = get().of(static_cast<c10::DeviceIndex>(block.device));
    const std::lock_guard lock(count.mutex);
    shrink(count.stats, block.bytes);
  }
  Count& of(c10::DeviceIndex device) {
    return counts_.at(static_cast<size_t>(device < 0 ? current_device() : device));
  }

  std::array<Count, 64> counts_;
  std::atomic<size_t> limit_{memory_of_a_device()};
};

class PinnedMemory final : public at::HostAllocator {
 public:
  at::DataPtr allocate(size_t bytes) override {
    void* memory = pinned_heap().allocate(bytes, 0, Tape::pool_here());
    return {memory, memory, &release, c10::DeviceType::CPU};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
  bool record_event(void*, void*, c10::Stream) override { return true; }
  void empty_cache() override {}
  at::HostStats get_stats() override { return {}; }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}

 private:
  static void release(void* memory) {
    if (memory != nullptr) pinned_heap().free(memory);
  }
};

}  // namespace

size_t memory_of_a_device() {
  static const size_t bytes = [] {
    const char* text = std::getenv("TRIREME_EMULATED_MEMORY");
    return text == nullptr ? size_t{8} << 30 : static_cast<size_t>(std::atoll(text));
  }();
  return bytes;
}

void limit_memory(size_t bytes) {
  DeviceMemory::get().limit(bytes);
}

at::HostAllocator& pinned_allocator() {
  static auto* const one = new PinnedMemory;
  return *one;
}

int64_t graph_bytes() {
  return static_cast<int64_t>(device_heap().bytes_kept_freed());
}

void register_allocators() {
  c10::SetAllocator(device_type, &DeviceMemory::get());
  at::setHostAllocator(device_type, &pinned_allocator());
}

}  // namespace trireme::emulated

#include <trireme/telemetry/memory.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <string_view>

#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <c10/util/Exception.h>

#include <fcntl.h>
#include <fmt/core.h>
#include <malloc.h>
#include <unistd.h>

namespace trireme::telemetry {
namespace {

std::atomic<int64_t> allocated{0};
std::atomic<int64_t> peak{0};
std::atomic<int64_t> allocations{0};
std::atomic<int64_t> limit{0};  // 0: none

constexpr double mib = 1 << 20;

void raise_peak(int64_t value) {
  int64_t seen = peak.load(std::memory_order_relaxed);
  while (value > seen && !peak.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

/// oneDNN takes and frees raw pointers, so the context must be the data pointer itself and sizes
/// come from the heap.
class CountingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    void* data = allocate_memory(bytes);
    const auto size = static_cast<int64_t>(malloc_usable_size(data));
    raise_peak(allocated.fetch_add(size, std::memory_order_relaxed) + size);
    allocations.fetch_add(1, std::memory_order_relaxed);
    return {data, data, &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }

 private:
  static void* allocate_memory(size_t bytes) {
    const int64_t most = limit.load(std::memory_order_relaxed);
    const int64_t used = allocated.load(std::memory_order_relaxed);
    if (most > 0 && used + static_cast<int64_t>(bytes) > most)
      throw OutOfMemory(
          fmt::format("{:.1f} MiB more than the {:.1f} in use would exceed the limit of "
                      "{:.0f} MiB (device.memory_limit_mib)",
                      static_cast<double>(bytes) / mib, static_cast<double>(used) / mib,
                      static_cast<double>(most) / mib));
    try {
      return c10::alloc_cpu(bytes);
    } catch (const c10::Error&) {
      throw OutOfMemory(fmt::format("the host gave no {:.1f} MiB more; {:.1f} MiB are in use",
                                    static_cast<double>(bytes) / mib,
                                    static_cast<double>(used) / mib));
    }
  }

  static void release(void* data) {
    if (data == nullptr) return;
    allocated.fetch_sub(static_cast<int64_t>(malloc_usable_size(data)), std::memory_order_relaxed);
    c10::free_cpu(data);
  }
};

/// The second number of /proc/self/statm, in pages; the file is kept open because it is read every
/// step.
int64_t resident_pages() {
  static const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  std::array<char, 128> text{};
  const ssize_t got = file < 0 ? -1 : pread(file, text.data(), text.size(), 0);
  if (got <= 0) return 0;
  const std::string_view line(text.data(), static_cast<size_t>(got));
  const size_t blank = line.find(' ');
  int64_t pages = 0;
  if (blank != std::string_view::npos)
    std::from_chars(line.data() + blank + 1, line.data() + line.size(), pages);
  return pages;
}

}  // namespace

void install_counting_allocator() {
  static CountingAllocator allocator;
  static const bool installed = [] {
    c10::SetCPUAllocator(&allocator, /*priority=*/1);
    return true;
  }();
  static_cast<void>(installed);
}

void limit_memory(int64_t bytes) {
  limit.store(bytes, std::memory_order_relaxed);
}

int64_t allocated_bytes() {
  return allocated.load(std::memory_order_relaxed);
}
int64_t peak_bytes() {
  return peak.load(std::memory_order_relaxed);
}
int64_t allocation_count() {
  return allocations.load(std::memory_order_relaxed);
}
void reset_peak() {
  peak.store(allocated_bytes(), std::memory_order_relaxed);
}

int64_t resident_bytes() {
  static const int64_t page = sysconf(_SC_PAGESIZE);
  return resident_pages() * page;
}

MemoryMark mark_tensors() {
  const int64_t now = allocated_bytes();
  return {.allocated = now, .reserved = now, .peak = peak_bytes(), .rss = 0};
}

MemoryMark mark_memory() {
  MemoryMark mark = mark_tensors();
  mark.rss = resident_bytes();
  return mark;
}

MemoryScope::MemoryScope() : start_(allocated_bytes()), outer_peak_(peak_bytes()) {
  reset_peak();
}
MemoryScope::~MemoryScope() {
  raise_peak(outer_peak_);
}
int64_t MemoryScope::delta() const {
  return allocated_bytes() - start_;
}
int64_t MemoryScope::peak() const {
  return std::max<int64_t>(0, peak_bytes() - start_);
}

}  // namespace trireme::telemetry

#pragma once

#include <trireme/core/error.h>

#include <cstdint>
#include <string>

namespace trireme::telemetry {

/// Memory of this process at one moment, in bytes. On CPUs `reserved` equals `allocated`, because
/// LibTorch's CPU allocator caches nothing. Without the counting allocator the first three are 0.
struct MemoryMark {
  int64_t allocated = 0;  ///< by live tensors
  int64_t reserved = 0;   ///< held by the allocator
  int64_t peak = 0;       ///< the most that was allocated since the last reset_peak()
  int64_t rss = 0;        ///< resident set of the process
};

/// From here on LibTorch's CPU tensors are counted (about 20 ns an allocation). Once per process;
/// later calls do nothing. Tensors, SDPA and convolution temporaries pass through it; packing
/// buffers inside BLAS and oneDNN do not.
void install_counting_allocator();

/// This process's memory did not suffice, here: not what another rank told of its own.
class OutOfMemory final : public Error {
 public:
  explicit OutOfMemory(const std::string& message)
      : Error(ErrorKind::out_of_memory, message,
              "use a smaller train.batch_size with train.global_batch kept") {}
};

/// An allocation that would exceed this many bytes throws OutOfMemory, like one that the host
/// refuses. 0: no limit. Needs the counting allocator.
void limit_memory(int64_t bytes);

/// Any thread; the counts are of the process, not of a rank that is a thread.
[[nodiscard]] int64_t allocated_bytes();
[[nodiscard]] int64_t peak_bytes();
/// Allocations since the allocator was installed.
[[nodiscard]] int64_t allocation_count();
/// Makes the peak start again from what is allocated now.
void reset_peak();

/// Resident bytes from /proc/self/statm; 0 where that is missing.
[[nodiscard]] int64_t resident_bytes();
[[nodiscard]] MemoryMark mark_memory();
/// The same without `rss`, which costs a system call.
[[nodiscard]] MemoryMark mark_tensors();

/// What happened to the tensors' memory while it lived. Scopes nest on one thread: an inner scope
/// does not hide its peak from an outer one.
class MemoryScope {
 public:
  MemoryScope();
  ~MemoryScope();
  MemoryScope(const MemoryScope&) = delete;
  MemoryScope& operator=(const MemoryScope&) = delete;

  /// Allocated now minus allocated at the start.
  [[nodiscard]] int64_t delta() const;
  /// The most that was allocated above the start.
  [[nodiscard]] int64_t peak() const;

 private:
  int64_t start_;
  int64_t outer_peak_;
};

}  // namespace trireme::telemetry

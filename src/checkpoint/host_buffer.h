#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include <ATen/core/Tensor.h>

namespace trireme::checkpoint {

/// Host memory that snapshots are copied into, kept from one save to the next: fresh pages would
/// cost as much as the copy.
class HostBuffer {
 public:
  /// At least so many bytes, aligned to a cache line; what was in it is lost when it has to grow.
  /// `page_locked`: for copies from a device, the same at every call.
  [[nodiscard]] std::byte* reserve(int64_t bytes, bool page_locked = false);

 private:
  struct Free {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte[], Free> memory_;
  at::Tensor page_locked_;
  int64_t bytes_ = 0;
};

}  // namespace trireme::checkpoint

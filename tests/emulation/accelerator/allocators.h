#pragma once

#include <ATen/core/CachingHostAllocator.h>

namespace trireme::emulated {

/// The most that one process may take of a device.
void limit_memory(size_t bytes);
[[nodiscard]] size_t memory_of_a_device();

[[nodiscard]] at::HostAllocator& pinned_allocator();
/// Tells LibTorch about memory.
void register_allocators();

}  // namespace trireme::emulated

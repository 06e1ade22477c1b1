#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace trireme::device {

/// What LibTorch's caching allocator holds on a device, in bytes. The CPU's allocator caches and counts nothing: all 0.
struct DeviceMemory {
  int64_t allocated = 0;  ///< by live tensors
  int64_t reserved = 0;   ///< held by the allocator
  int64_t peak = 0;       ///< the most that was allocated since the last reset_peak()
};
/// Any thread; takes the allocator's lock, but does not wait for the device.
[[nodiscard]] DeviceMemory device_memory(c10::Device device);
/// Makes the peak start again from what is allocated now.
void reset_peak(c10::Device device);

}  // namespace trireme::device

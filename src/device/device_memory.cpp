#include <trireme/device/device_memory.h>

#include <c10/core/CachingDeviceAllocator.h>

namespace trireme::device {
namespace {

/// Null where there is nothing to count: the CPU, or a device that nothing was allocated on.
c10::DeviceAllocator* allocator_of(c10::Device device) {
  if (device.is_cpu()) return nullptr;
  auto* allocator = dynamic_cast<c10::DeviceAllocator*>(c10::GetAllocator(device.type()));
  return allocator != nullptr && allocator->initialized() ? allocator : nullptr;
}

}  // namespace

DeviceMemory device_memory(c10::Device device) {
  c10::DeviceAllocator* allocator = allocator_of(device);
  if (allocator == nullptr) return {};
  const auto stats = allocator->getDeviceStats(device.index());
  constexpr auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return {.allocated = stats.allocated_bytes[all].current,
          .reserved = stats.reserved_bytes[all].current,
          .peak = stats.allocated_bytes[all].peak};
}

void reset_peak(c10::Device device) {
  if (c10::DeviceAllocator* allocator = allocator_of(device)) allocator->resetPeakStats(device.index());
}

}  // namespace trireme::device

#pragma once

#include <cstdint>

#include <c10/core/Device.h>

namespace trireme::emulated {

// An accelerator whose memory is memory of the host: libtrireme_emulated.so, the back end
// "emulated", serves LibTorch's PrivateUse1 devices. What differs from a real one: operations run
// at once, on the thread that issues them, by LibTorch's code for the CPU. What does not: tensors
// of the device and of the host do not mix, memory is counted and limited, and a graph is recorded
// once and repeated without the host's code, at fixed addresses.
//
// Environment: TRIREME_EMULATED_DEVICES (8), TRIREME_EMULATED_MEMORY (bytes of one device, 8 GiB),
// TRIREME_EMULATED_PROTECT=1: the host cannot touch a device's memory outside of operations, a
// stray access is a SIGSEGV.

inline constexpr c10::DeviceType device_type = c10::DeviceType::PrivateUse1;

/// How often the process's host waited for a device so far: values read, blocking copies,
/// synchronisations, operations whose result's shape depends on values.
[[nodiscard]] int64_t host_syncs();

/// While one lives, what would make the host wait throws an Error `environment` that names it, on
/// all threads.
class ForbidSyncs {
 public:
  ForbidSyncs();
  ~ForbidSyncs();
  ForbidSyncs(const ForbidSyncs&) = delete;
  ForbidSyncs& operator=(const ForbidSyncs&) = delete;
};

/// Bytes that graphs keep for their replays.
[[nodiscard]] int64_t graph_bytes();

}  // namespace trireme::emulated

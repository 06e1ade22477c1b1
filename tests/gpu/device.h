#pragma once

#include <trireme/device/backend.h>
#include <trireme/device/select.h>

#include <c10/core/Device.h>

namespace trireme::gpu {

/// Loads the back end, where there is a GPU for it. Call it before anything that asks LibTorch about devices.
inline bool is_there() {
  static const bool there = [] {
    if (!device::look_for_gpus().visible()) return false;
    device::load_backend("cuda").use(0);
    return true;
  }();
  return there;
}

inline c10::Device device() { return {c10::kCUDA, 0}; }

}  // namespace trireme::gpu

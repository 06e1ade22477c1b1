#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include <c10/core/Device.h>

namespace trireme::optim {

/// Where the tests of the device's optimizer keep its tensors; nothing: this machine has no such
/// device.
[[nodiscard]] std::optional<c10::Device> device_under_test();

/// While the result lives, operations of this thread are those of that device. `order` chooses
/// among orders of its threads, where it lets one choose; only one thread may then do so at a time.
[[nodiscard]] std::shared_ptr<void> serve_device(std::optional<size_t> order = {});

/// Kernels launched since the process began; nothing where they are not counted.
[[nodiscard]] std::optional<uint64_t> kernel_launches();

}  // namespace trireme::optim

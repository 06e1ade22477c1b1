#pragma once

#include <optional>
#include <string_view>

#include <c10/core/ScalarType.h>

namespace trireme::device {

/// Floating-point operations a second that the device of this name reaches at best in dense matrix products with operands of this
/// type (float32: by the TF32 units if `tf32`), as its maker says; nothing for devices that are not known, CPUs among them.
[[nodiscard]] std::optional<double> peak_flops(std::string_view device_name, c10::ScalarType type, bool tf32);

}  // namespace trireme::device

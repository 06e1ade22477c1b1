#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

namespace trireme::emulated {

[[nodiscard]] const at::Generator& default_generator(c10::DeviceIndex device);
[[nodiscard]] at::Generator new_generator(c10::DeviceIndex device);
/// The generator of the CPU inside, which operations draw from.
[[nodiscard]] const at::Generator& drawn_from(const at::Generator& generator);

/// Of the device's default generator.
[[nodiscard]] at::Tensor generator_state(c10::DeviceIndex device);
void set_generator_state(c10::DeviceIndex device, const at::Tensor& state);

}  // namespace trireme::emulated

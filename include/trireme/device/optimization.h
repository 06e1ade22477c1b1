#pragma once

#include <trireme/device/backend.h>
#include <trireme/device/config.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme::device {

/// A configuration key and its value as YAML.
struct Switch {
  std::string key;
  std::string value;
  bool operator==(const Switch&) const = default;
};

/// What a level of device.optimization_level stands for: the same keys at every level. Keys that a user set win over it.
[[nodiscard]] std::vector<Switch> expand(std::string_view level);

/// What the level says of one of these keys.
[[nodiscard]] std::string value_at(std::string_view level, std::string_view key);

/// The device's own switches as configured, or as the level says; `deterministic` turns measuring off. Error `configuration` if
/// a deterministic run is told to measure.
[[nodiscard]] ComputeSettings compute_settings(const DeviceConfig& config, bool deterministic);
/// device.channels_last, likewise.
[[nodiscard]] bool channels_last(const DeviceConfig& config);

}  // namespace trireme::device

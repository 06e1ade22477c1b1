#pragma once

#include <trireme/telemetry/profile_config.h>

#include <cstdint>

namespace trireme::telemetry {

enum class ProfileAction : uint8_t {
  none,
  warmup,
  record,
  record_and_save,  ///< the last step of a recording
};

/// What happens in step `step` of an attempt, counted from 0, as torch.profiler.schedule has it.
[[nodiscard]] ProfileAction profile_action(const ProfileConfig& config, int64_t step);

}  // namespace trireme::telemetry

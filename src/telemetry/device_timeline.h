#pragma once

#include <trireme/device/mark.h>
#include <trireme/telemetry/phase.h>

#include <array>
#include <cstdint>
#include <vector>

#include <c10/core/Device.h>

namespace trireme::telemetry {

/// The phases of one step as the device went through them: marks in its stream where the host entered and left phases.
class DeviceTimeline {
 public:
  /// From here on the device's time belongs to `phase`.
  void mark(c10::Device device, Phase phase);
  void clear() { marks_.clear(); }

  /// The device has passed the last mark.
  [[nodiscard]] bool complete() const;
  struct Times {
    double seconds = 0;  ///< between the first and the last mark
    std::array<double, phase_count> phases{};
  };
  [[nodiscard]] Times times() const;

 private:
  struct Moment {
    Phase phase;
    device::Mark mark;
  };
  std::vector<Moment> marks_;
};

}  // namespace trireme::telemetry

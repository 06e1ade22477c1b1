#include "telemetry/device_timeline.h"

namespace trireme::telemetry {

void DeviceTimeline::mark(c10::Device device, Phase phase) {
  marks_.push_back({phase, device::Mark::now(device, /*timed=*/true)});
}

bool DeviceTimeline::complete() const { return marks_.empty() || marks_.back().mark.reached(); }

DeviceTimeline::Times DeviceTimeline::times() const {
  Times times;
  for (size_t i = 1; i < marks_.size(); ++i) {
    const double seconds = marks_[i].mark.seconds_since(marks_[i - 1].mark);
    times.phases[static_cast<size_t>(marks_[i - 1].phase)] += seconds;
    times.seconds += seconds;
  }
  return times;
}

}  // namespace trireme::telemetry

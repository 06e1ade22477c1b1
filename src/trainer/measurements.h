#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include <trireme/data/loader.h>
#include <trireme/device/mark.h>
#include <trireme/report/rank_row.h>
#include <trireme/telemetry/recorder.h>
#include <trireme/telemetry/sensors.h>

#include "trainer/build.h"
#include "trainer/state_forecast.h"

namespace trireme::trainer {

/// What this rank knows of a window of steps besides the records of the steps.
class Measurements {
 public:
  Measurements(const RunConfig& config, Parts& parts, const StateForecast& forecast);

  /// What was before does not count.
  void begin(const data::LoaderCounters& loader);
  /// Since the last call; `steps` are the records of that time.
  [[nodiscard]] report::RankExtras since_last(std::span<const telemetry::StepRecord> steps, const data::LoaderCounters& loader);

  /// What is expected of a rank's memory, without activations.
  [[nodiscard]] const report::MemoryKinds& state() const { return state_; }
  /// Operations a second that the device could do in the run's type; nothing where that is not known.
  [[nodiscard]] std::optional<double> peak_flops() const { return peak_flops_; }

 private:
  report::MemoryKinds state_;
  double flops_per_sample_;
  double passing_ = 0;  // gathered parameters and travelling gradients, at most
  std::optional<double> peak_flops_;
  std::optional<telemetry::SensorSampler> sensors_;
  device::HostWaits waits_ = device::host_waits();
  int64_t load_ns_ = 0;
};

}  // namespace trireme::trainer

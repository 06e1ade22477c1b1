#pragma once

#include <trireme/device/backend.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace trireme::telemetry {

/// What a device's sensors said over a stretch of time. Quantities that it has no sensor for are NaN.
struct SensorWindow {
  double utilisation;  ///< mean, 0 to 1
  double power_watts;  ///< mean
  double celsius;      ///< the most
  double throttled;    ///< share of the readings at which its clocks were held down
  int64_t readings = 0;
};

/// Adds readings up.
class SensorSums {
 public:
  void add(const device::Reading& reading);
  [[nodiscard]] SensorWindow window() const;

 private:
  struct Sum {
    double total = 0;
    int64_t count = 0;
  };
  Sum utilisation_, power_;
  double celsius_ = 0;
  int64_t celsius_count_ = 0;
  int64_t throttled_ = 0;
  int64_t readings_ = 0;
};

/// Reads sensors at a set period on a thread of its own, so that no step waits for them.
class SensorSampler {
 public:
  using Read = std::function<device::Reading()>;
  SensorSampler(Read read, std::chrono::milliseconds period);
  ~SensorSampler();
  SensorSampler(const SensorSampler&) = delete;
  SensorSampler& operator=(const SensorSampler&) = delete;

  /// What was read since the last call. Any thread.
  [[nodiscard]] SensorWindow take();

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace trireme::telemetry

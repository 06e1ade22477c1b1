#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Waits for collectives and counts them. What it waits is the step's phase comm_exposed, wherever
/// in forward or backward that is.
class Traffic {
 public:
  struct Totals {
    int64_t exposed_ns = 0, busy_ns = 0, bytes = 0, calls = 0;
  };
  explicit Traffic(telemetry::Recorder& recorder) : recorder_(recorder) {}

  void wait(comm::Work& work, const at::Tensor& payload);
  /// Since the last call.
  [[nodiscard]] Totals take();

 private:
  telemetry::Recorder& recorder_;
  Totals totals_;
};

}  // namespace trireme::parallel

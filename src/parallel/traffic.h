#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/parallel/data_parallel.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Waits for collectives and counts them. On a device nobody knows yet how long they take: their
/// times are counted a step later, and the time that the host waits says nothing.
class Traffic {
 public:
  /// With a recorder, what it waits is the step's phase comm_exposed, wherever in forward or
  /// backward that is.
  explicit Traffic(telemetry::Recorder* recorder = nullptr) : recorder_(recorder) {}

  void wait(const comm::WorkPtr& work, const at::Tensor& payload);
  /// Adds what was counted since the last call.
  void tell(ReduceReport& report);

 private:
  telemetry::Recorder* recorder_;
  ReduceReport counted_;
  std::vector<comm::WorkPtr> on_device_, on_device_before_;  // of this step, of the one before
};

}  // namespace trireme::parallel

#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/parallel/data_parallel.h>
#include <trireme/telemetry/recorder.h>

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Waits for collectives and counts them.
class Traffic {
 public:
  /// With a recorder, what it waits is the step's phase comm_exposed, wherever in forward or
  /// backward that is.
  explicit Traffic(telemetry::Recorder* recorder = nullptr) : recorder_(recorder) {}

  void wait(comm::Work& work, const at::Tensor& payload);
  /// Adds what was counted since the last call.
  void tell(ReduceReport& report);

 private:
  telemetry::Recorder* recorder_;
  ReduceReport counted_;
};

}  // namespace trireme::parallel

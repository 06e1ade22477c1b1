#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/data_parallel.h>

#include "parallel/traffic.h"

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Which parameters had no gradient in a step, here and on all ranks. Every rank calls alike.
///
/// On the CPU ranks compare in every step. On a device that would make the host wait for it: there
/// they compare in the first steps alone, by way of the host, and later steps name none. What is
/// recorded into a graph comes after those.
class UnusedParameters {
 public:
  static constexpr int compared_steps = 3;  ///< on a device

  /// `device`: of the gradients.
  UnusedParameters(at::Device device, comm::Communicator& ranks) : device_(device), ranks_(ranks) {}

  /// Begins a step's comparison, behind what was begun before. `touched`: on the host, float32 by
  /// parameter, 1 if it had a gradient here; unchanged until name().
  void begin(const at::Tensor& touched);
  /// Waits, and names them. `parameters`: in the order of `touched`.
  void name(const core::ParameterSet& parameters, Traffic& traffic, ReduceReport& report);

 private:
  [[nodiscard]] at::Tensor touched_anywhere(Traffic& traffic);

  at::Device device_;
  comm::Communicator& ranks_;
  int compared_ = 0;  // steps
  at::Tensor here_, anywhere_;
  comm::WorkPtr comparing_;  // null on one rank, and on devices
};

}  // namespace trireme::parallel

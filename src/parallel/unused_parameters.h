#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/data_parallel.h>

#include "parallel/traffic.h"

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Which parameters had no gradient in a step, here and on all ranks. Every rank makes one; what
/// was begun before it is still under way.
class UnusedParameters {
 public:
  /// `touched`: on the host, float32 by parameter, 1 if it had a gradient here. Begins to compare
  /// it on `device`.
  UnusedParameters(const at::Tensor& touched, at::Device device, comm::Communicator& ranks);

  /// Waits, and names them. `parameters`: in the order of `touched`.
  void name(const core::ParameterSet& parameters, Traffic& traffic, ReduceReport& report);

 private:
  at::Tensor here_, anywhere_;
  comm::WorkPtr comparing_;  // null on one rank
};

}  // namespace trireme::parallel

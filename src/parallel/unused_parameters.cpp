#include "parallel/unused_parameters.h"

#include <ATen/ATen.h>

namespace trireme::parallel {

UnusedParameters::UnusedParameters(const at::Tensor& touched, at::Device device,
                                   comm::Communicator& ranks)
    : here_(touched), anywhere_(touched) {
  if (ranks.size() == 1) return;
  anywhere_ = touched.to(device, at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  comparing_ = ranks.all_reduce(anywhere_, comm::ReduceOp::max);
}

void UnusedParameters::name(const core::ParameterSet& parameters, Traffic& traffic,
                            ReduceReport& report) {
  if (comparing_) traffic.wait(*comparing_, anywhere_);
  const at::Tensor anywhere = anywhere_.cpu();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (anywhere.const_data_ptr<float>()[i] == 0.0F) report.unused.push_back(parameters[i].name);
    if (here_.const_data_ptr<float>()[i] == 0.0F) report.unused_here.push_back(parameters[i].name);
  }
}

}  // namespace trireme::parallel

#include <trireme/optim/optimizer.h>

#include "ops/kernels.h"
#include "optim/device_optimizer.h"
#include "optim/fused_optimizer.h"

#include <utility>

namespace trireme::optim {

std::unique_ptr<Optimizer> make_optimizer(const OptimConfig& config,
                                          const core::ParameterSet& parameters,
                                          AddOverShards add_over_shards) {
  ops::Kernels* const kernels =
      parameters.empty() ? nullptr : ops::kernels_for(parameters.front().tensor);
  if (kernels == nullptr)
    return std::make_unique<FusedOptimizer>(config, parameters, std::move(add_over_shards));
  return std::make_unique<DeviceOptimizer>(config, parameters, std::move(add_over_shards),
                                           *kernels);
}

}  // namespace trireme::optim

#pragma once

#include "ops/kernels.h"
#include "optim/entry_optimizer.h"

#include <memory>
#include <vector>

namespace trireme::optim {

/// All update rules on a device that has kernels: a few launches an update, and nothing is read
/// back.
class DeviceOptimizer final : public EntryOptimizer {
 public:
  /// `kernels` lives as long as this.
  DeviceOptimizer(const OptimConfig& config, const core::ParameterSet& parameters,
                  AddOverShards add_over_shards, ops::Kernels& kernels);

  /// The first one, and one after gradients or parameters have moved, prepare the update: neither
  /// may be recorded into a graph. One that is recorded must be given device_lr.
  void step(const StepInputs& inputs) override;

 private:
  void prepare_update();

  AddOverShards add_over_shards_;
  ops::Kernels& kernels_;
  std::unique_ptr<ops::MultiTensorUpdate> update_;
  std::vector<const void*> addresses_;  // that update_ is for
  at::Tensor lr_, unscaled_, finite_;   // what StepInputs leaves out
};

}  // namespace trireme::optim

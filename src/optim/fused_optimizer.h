#pragma once

#include <trireme/optim/groups.h>
#include <trireme/optim/optimizer.h>

#include "optim/entry_memory.h"
#include "optim/slices.h"

#include <span>
#include <vector>

namespace trireme::optim {

/// All update rules on the CPU: one pass over parameters, gradients and state, shared among the
/// threads in fixed chunks.
class FusedOptimizer final : public Optimizer {
 public:
  FusedOptimizer(OptimConfig config, const core::ParameterSet& parameters,
                 AddOverShards add_over_shards);

  void step(const StepInputs& inputs) override;
  void parameters_changed() override;
  [[nodiscard]] std::vector<at::Tensor> precise(
      const core::ParameterSet& parameters) const override;
  [[nodiscard]] const at::Tensor& steps() const override { return steps_; }
  void save_state(core::StateWriter& out) const override;
  void load_state(const core::StateReader& in) override;

 private:
  template <class MakeRule>
  void update_all(std::span<const EntryMemory> memory, float gradient_scale,
                  const MakeRule& make_rule);
  void update_lamb(std::span<const EntryMemory> memory, float gradient_scale, double lr);
  void update_by_rule(std::span<const EntryMemory> memory, float gradient_scale, double lr);
  template <class Work>
  void for_each_chunk(const Work& work) const;

  OptimConfig config_;
  AddOverShards add_over_shards_;
  std::vector<std::string> slot_names_;
  std::vector<ParameterSettings> settings_;  // distinct ones
  std::vector<Entry> entries_;
  std::vector<Chunk> chunks_;
  at::Tensor steps_;
};

}  // namespace trireme::optim

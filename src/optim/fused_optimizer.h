#pragma once

#include "optim/entry_memory.h"
#include "optim/entry_optimizer.h"
#include "optim/slices.h"

#include <span>
#include <vector>

namespace trireme::optim {

/// All update rules on the CPU: one pass over parameters, gradients and state, shared among the
/// threads in fixed chunks.
class FusedOptimizer final : public EntryOptimizer {
 public:
  FusedOptimizer(const OptimConfig& config, const core::ParameterSet& parameters,
                 AddOverShards add_over_shards);

  void step(const StepInputs& inputs) override;

 private:
  /// The constants of each of the settings, of the update that is counted already.
  template <class Rule>
  [[nodiscard]] std::vector<Rule> rules(double lr) const;
  template <class Rule>
  void update_all(std::span<const EntryMemory> memory, float gradient_scale, double lr);
  void update_lamb(std::span<const EntryMemory> memory, float gradient_scale, double lr);
  template <class Work>
  void for_each_chunk(const Work& work) const;

  AddOverShards add_over_shards_;
  std::vector<Chunk> chunks_;
};

}  // namespace trireme::optim

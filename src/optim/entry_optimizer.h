#pragma once

#include <trireme/core/random.h>
#include <trireme/optim/groups.h>
#include <trireme/optim/optimizer.h>

#include "ops/update_rules.h"

#include <string>
#include <vector>

namespace trireme::optim {

/// What the optimizer keeps for one trained parameter. All tensors have the parameter's shape and
/// strides, so that an update walks them as plain memory.
struct Entry {
  core::Parameter parameter;
  size_t settings = 0;  ///< index of its distinct settings
  at::Tensor master;    ///< float32; undefined where the parameter takes the updates itself
  std::vector<at::Tensor> slots;  ///< float32 or bfloat16, in the rule's order
};

/// What the optimizers of all devices share: the state and how it is saved.
class EntryOptimizer : public Optimizer {
 public:
  EntryOptimizer(const OptimConfig& config, const core::ParameterSet& parameters);

  void parameters_changed() override;
  [[nodiscard]] std::vector<at::Tensor> precise(
      const core::ParameterSet& parameters) const override;
  [[nodiscard]] const at::Tensor& steps() const override { return steps_; }
  void save_state(core::StateWriter& out) const override;
  void load_state(const core::StateReader& in) override;

 protected:
  [[nodiscard]] const ops::UpdateRule& rule() const { return rule_; }
  [[nodiscard]] const std::vector<ParameterSettings>& settings() const { return settings_; }
  [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
  /// Writes to raw memory are invisible to autograd otherwise: a graph of the old values must not
  /// be used again.
  void mark_changed() const;

 private:
  ops::UpdateRule rule_;
  std::vector<std::string> slot_names_;
  std::vector<ParameterSettings> settings_;  // distinct ones
  std::vector<Entry> entries_;
  at::Tensor steps_;
};

/// Error `unexpected` unless the parameter has a float32 gradient laid out like itself.
void check_gradient(const core::Parameter& parameter);

/// Parameter, array (0: the parameter, then its slots), update and the place in the logical
/// parameter give the random bits of a rounding: it depends neither on threads nor on how
/// parameters are cut, and a resumed run repeats it. This is the parameter's part of the key.
[[nodiscard]] core::RandomKey rounding_key(const core::Parameter& parameter);
/// The place of the first element. Elements count as they lie in memory: a whole parameter that is
/// dense but not contiguous (a channels-last filter) has bits of its own.
[[nodiscard]] int64_t first_element(const core::Parameter& parameter);

/// One tensor of this type a parameter, zero, all in one allocation at multiples of 64 bytes.
[[nodiscard]] std::vector<at::Tensor> tensors_like(const std::vector<at::Tensor>& models,
                                                   at::ScalarType type);

}  // namespace trireme::optim

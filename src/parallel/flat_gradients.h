#pragma once

#include <trireme/autograd/hooks.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/shard_plan.h>

#include "parallel/traffic.h"

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// The gradients of a FlatParameters' parameters, cut like them: added up over the ranks of
/// `shards` into float32 shards, then over the ranks of `replicas`, who hold the same shard. On a
/// device with one compute stream current, as FlatParameters.
class FlatGradients {
 public:
  struct Settings {
    /// Whole gradients stay in memory and are added up over the micro-steps here, before they are
    /// reduced once. Otherwise each micro-step's are reduced and given up.
    bool whole = false;
    at::ScalarType reduce = at::kFloat;  ///< in which they travel
  };
  FlatGradients(comm::CommunicatorPtr shards, comm::CommunicatorPtr replicas,
                const core::ParameterSet& parameters, const ShardPlan& plan,
                const Settings& settings, Traffic& traffic);
  FlatGradients(const FlatGradients&) = delete;
  FlatGradients& operator=(const FlatGradients&) = delete;

  /// Float32, one-dimensional; complete after finish().
  [[nodiscard]] const at::Tensor& shard() const { return shard_; }

  /// Before a micro-step's backward. Error `plugin_failed` if a gradient is not where it was put.
  void begin(bool last_micro_step);
  /// All gradients of this micro-step are there. Begins to reduce them, if it is time. All ranks
  /// call, in one order.
  void reduce();
  /// Blocks until what was begun is reduced over `shards`, and begins the sum over replicas after
  /// the last micro-step.
  void settle();
  /// After settle() of the last micro-step.
  void finish();

  /// By parameter: whether it had a gradient on this rank since the last clear_touched().
  [[nodiscard]] const std::vector<bool>& touched() const { return touched_; }
  void clear_touched() { touched_.assign(touched_.size(), false); }

 private:
  void gradient_ready(size_t parameter);
  void check_bound(size_t parameter) const;
  [[nodiscard]] at::Tensor slot(const at::Tensor& flat, size_t parameter) const;
  void take(size_t parameter);
  void zero_gaps();

  comm::CommunicatorPtr shards_, replicas_;
  core::ParameterSet parameters_;
  ShardPlan plan_;
  Settings settings_;
  Traffic& traffic_;
  at::Tensor shard_;
  at::Tensor whole_;  // settings.whole: float32, what the parameters' gradients are views of
  std::vector<at::Tensor> views_;  // settings.whole: by parameter
  at::Tensor travelling_;          // what is being reduced
  at::Tensor arriving_;            // its result, if that is not the shard itself
  comm::WorkPtr reducing_, adding_replicas_;
  std::vector<bool> arrived_;  // by parameter, in this micro-step
  std::vector<bool> touched_;
  bool reduced_ = false;  // in this micro-step
  bool last_ = false;
  bool reducing_last_ = false;  // what is being reduced is the last micro-step's
  bool fresh_ = true;           // the shard holds nothing of this step yet
  std::vector<autograd::GradientHook> hooks_;
};

}  // namespace trireme::parallel

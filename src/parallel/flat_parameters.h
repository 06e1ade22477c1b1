#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/shard_plan.h>

#include "parallel/traffic.h"

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// Parameters of one unit, all of one type, in one flat buffer that is cut over the ranks of
/// `shards`. Their memory may be given back while nobody computes with them: the same tensors, and
/// what autograd saved of them, find it filled again after gather(). The graph does not notice.
///
/// On a device everything happens on one compute stream and the communicator's: the memory is taken
/// from and given back to the compute stream's pool, where it is used again in that stream's order.
/// A gather waits for what that stream was given before it, thus for all who read or wrote the
/// memory under another name, and wait() puts the readers behind the gather. So call all of this
/// with that stream current; autograd does for hooks, which run on the stream of their forward.
class FlatParameters {
 public:
  /// Takes the parameters over: copies their values into the buffer and lets them be views of it.
  /// Called with equal values by all ranks. `freeable`: the shard has memory of its own.
  FlatParameters(comm::CommunicatorPtr shards, core::ParameterSet parameters, bool freeable,
                 Traffic& traffic);
  FlatParameters(const FlatParameters&) = delete;
  FlatParameters& operator=(const FlatParameters&) = delete;

  [[nodiscard]] const core::ParameterSet& parameters() const { return parameters_; }
  [[nodiscard]] const ShardPlan& plan() const { return plan_; }
  /// This rank's shard, one-dimensional.
  [[nodiscard]] const at::Tensor& shard() const { return shard_; }
  [[nodiscard]] bool freeable() const { return freeable_; }

  /// Begins to gather the whole from the shards, unless it is there or on its way. All ranks call.
  void gather();
  /// Blocks until the whole is there.
  void wait();
  /// Blocks until no transfer is under way.
  void settle() {
    if (state_ == Whole::gathering) wait();
  }
  /// Gives the whole's memory back, if it is freeable. Error `plugin_failed` naming a parameter
  /// that was changed since it was gathered: the change would be lost.
  void free();
  /// The shards have changed: what there is of the whole is out of date.
  void invalidate();

  /// How many tensors refer to the parameters or their memory, apart from the nodes that accumulate
  /// gradients: what grows in a forward is what its backward keeps.
  [[nodiscard]] size_t references() const;
  /// Something besides this object and the parameters refers to the buffer. Ask while no graph and
  /// no transfer is alive.
  [[nodiscard]] bool referenced_elsewhere() const;

 private:
  enum class Whole { absent, gathering, present };
  void take_memory();
  void note_versions();

  comm::CommunicatorPtr shards_;
  core::ParameterSet parameters_;
  bool freeable_;
  Traffic& traffic_;
  ShardPlan plan_;
  at::Tensor whole_;
  at::Tensor shard_;
  std::vector<uint32_t> versions_;  // by parameter, when the whole was last complete
  Whole state_ = Whole::present;
  comm::WorkPtr gathering_;
};

}  // namespace trireme::parallel

#pragma once

#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>

#include "parallel/sharded_parameters.h"
#include "support/spawn_ranks.h"
#include "unit/parallel/small_network.h"
#include "unit/parallel/watched_communicator.h"

#include <exception>

namespace trireme::parallel {

inline ShardedParameters::Ranks ranks_of(const comm::CommunicatorPtr& communicator,
                                         int shard_ranks) {
  const auto all = std::make_shared<WatchedCommunicator>(communicator);
  return {all, all->split(all->rank() / shard_ranks, all->rank(), "shards"),
          all->split(all->rank() % shard_ranks, all->rank(), "replicas")};
}

// Plain SGD in two operations, each rounded once: the same bits however the tensor is cut.
inline void descend(const core::ParameterSet& set) {
  const at::NoGradGuard no_grad;
  for (const core::Parameter& p : set) {
    if (!p.tensor.grad().defined()) continue;
    p.tensor.sub_((p.tensor.grad() * 0.05).to(p.tensor.scalar_type()));
    p.tensor.grad().zero_();
  }
}

/// One rank's network under a strategy; groups of `shard_ranks`, 0: all.
struct Sharded {
  Sharded(const comm::CommunicatorPtr& all, const ShardedParameters::Settings& settings,
          int shard_ranks = 0, at::ScalarType type = at::kFloat)
      : network(type),
        parallel(ranks_of(all, shard_ranks == 0 ? all->size() : shard_ranks), settings, recorder) {
    network.build([&](autograd::Unit& unit) { parallel.add(unit); });
  }
  /// What is gathered after the last step is waited for: the thread sanitizer does not see that
  /// LibTorch's counts order its end before the memory is freed.
  ~Sharded() {
    try {
      if (std::uncaught_exceptions() == 0) parallel.settle();
    } catch (const Error&) {
      // The test was about that.
    }
  }
  Sharded(const Sharded&) = delete;
  Sharded& operator=(const Sharded&) = delete;

  void micro_step(const at::Tensor& loss, bool last) {
    parallel.begin_backward(last);
    autograd::backward(loss);
    parallel.end_backward();
  }
  ReduceReport gradients(int rank, int micro_steps) {
    for (int m = 0; m < micro_steps; ++m)
      micro_step(network.loss(tokens(rank, m)), m + 1 == micro_steps);
    return parallel.finish();
  }
  void step() {
    parallel.settle();
    descend(parallel.fragments());
    parallel.parameters_changed();
  }

  telemetry::Recorder recorder;
  SmallNetwork network;
  ShardedParameters parallel;
};

}  // namespace trireme::parallel

#pragma once

#include <trireme/comm/communicator.h>

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// What one step's communication was like on this rank.
struct ReduceReport {
  std::vector<std::string> unused;  ///< parameters without a gradient on every rank; equal on all
                                    ///< ranks. On a device only the first three steps are looked at
  std::vector<std::string> unused_here;  ///< those without one on this rank
  int64_t exposed_ns = 0;                ///< time that the step waited; 0 on a device
  int64_t busy_ns = 0;  ///< time of all transfers together; on a device, of the step before
  int64_t bytes = 0;    ///< payload handed to the communicator
  int64_t calls = 0;    ///< collectives
  int64_t buckets_in_backward = 0;  ///< reductions launched before backward ended
};

/// How the ranks' gradients become one, and the parameters stay equal. A step is:
///
///   for each micro-step:  begin_backward(is_last);  backward;  end_backward();
///   report = finish();   flat() now holds the sums over ranks and micro-steps, or this rank's
///   shard of them
///   the optimizer changes what this rank steps;   parameters_changed();
///
/// Every rank calls these alike, with an empty batch too. Nothing else may communicate between the
/// last begin_backward and finish. Gradients are cleared by whoever uses them (the optimizer). Not
/// thread-safe; hooks run where forward and backward do.
class DataParallel {
 public:
  virtual ~DataParallel();

  virtual void begin_backward(bool last_micro_step) = 0;
  virtual void end_backward() = 0;
  [[nodiscard]] virtual ReduceReport finish() = 0;
  /// Forgets the step under way, which could not be recorded into a graph on any rank, so that it
  /// may be begun again: nothing of it has run. False: steps cannot be begun again here.
  [[nodiscard]] virtual bool abandon() { return false; }

  /// Contiguous float32: what norms and clearing work on. Padding is zero.
  [[nodiscard]] virtual const std::vector<at::Tensor>& flat() const = 0;
  /// The ranks whose flat() together are the whole gradient; null: every rank has all of it.
  [[nodiscard]] virtual comm::Communicator* shard_ranks() const = 0;

  /// Blocks until the values that this rank steps may change (on a device: makes the current stream
  /// wait): they may still be on their way to other ranks. finish() has done it too. The last call
  /// before the recording of a graph begins, and in it.
  virtual void settle() = 0;
  /// After they changed: makes the others see it. Does not wait.
  virtual void parameters_changed() = 0;
};

}  // namespace trireme::parallel

#pragma once

#include <trireme/autograd/hooks.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/bucket_plan.h>

#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

/// What one step's reduction was like on this rank.
struct ReduceReport {
  std::vector<std::string>
      unused;  ///< parameters without a gradient on every rank; equal on all ranks
  std::vector<std::string> unused_here;  ///< those without one on this rank
  int64_t exposed_ns = 0;                ///< time that finish() waited
  int64_t busy_ns = 0;                   ///< time of all transfers together
  int64_t bytes = 0;                     ///< payload handed to the communicator
  int64_t buckets_in_backward = 0;       ///< launched before backward ended
};

/// Data-parallel gradients: owns them as one flat float32 buffer (also for bfloat16 and float16
/// parameters), binds each parameter's gradient to its part, and sums the parts over all ranks
/// while backward still runs.
///
///   for each micro-step:  reducer.begin_backward(is_last);  backward, or nothing if this rank's
///   batch is empty report = reducer.finish();   flat() now holds the sums over ranks and
///   micro-steps
///
/// Every rank calls these alike; buckets are launched in the plan's order on all, whatever order
/// gradients become ready in. Gradients are cleared by whoever uses them (the optimizer); they
/// start as zero. Nothing else may communicate between the last begin_backward and finish. Not
/// thread-safe; hooks run where backward does.
class GradientReducer {
 public:
  /// `parameters`: those that are trained, in the order of first use, equal on all ranks, on one
  /// device. `reduce`: float32, or bfloat16 to halve what travels.
  GradientReducer(comm::CommunicatorPtr communicator, core::ParameterSet parameters,
                  const BucketSizes& sizes, at::ScalarType reduce = at::kFloat);
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Error `plugin_failed` naming a parameter whose gradient is no longer the one that was bound;
  /// the hooks throw it too.
  void begin_backward(bool last_micro_step);
  [[nodiscard]] ReduceReport finish();

  /// What norms and clearing work on: padding is zero.
  [[nodiscard]] const std::vector<at::Tensor>& flat() const { return flat_; }
  [[nodiscard]] const BucketPlan& plan() const { return plan_; }

 private:
  enum class Phase { idle, accumulating, reducing };
  struct Flight {
    comm::WorkPtr work;
    at::Tensor staged;  // defined where the bucket travels in another type
  };

  void gradient_ready(size_t parameter);
  void check_bound(size_t parameter) const;
  void launch_ready();
  void launch(size_t bucket);
  [[nodiscard]] at::Tensor values_of(const Bucket& bucket) const;

  comm::CommunicatorPtr communicator_;
  core::ParameterSet parameters_;
  BucketPlan plan_;
  at::ScalarType reduce_;
  std::vector<at::Tensor> flat_;
  std::vector<at::Tensor> views_;  // by parameter
  at::Tensor staging_;
  at::Tensor touched_;  // float32 by parameter: 1 if it had a gradient since the last finish
  std::vector<autograd::GradientHook> hooks_;

  Phase phase_ = Phase::idle;
  std::vector<bool> ready_;      // by parameter, in the last micro-step
  std::vector<size_t> awaited_;  // by bucket: parameters that are not ready
  std::vector<Flight> flights_;  // of the buckets launched, in order
};

}  // namespace trireme::parallel

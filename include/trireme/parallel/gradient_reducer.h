#pragma once

#include <trireme/autograd/hooks.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/parameters.h>
#include <trireme/parallel/bucket_plan.h>
#include <trireme/parallel/data_parallel.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::parallel {

class Traffic;
class UnusedParameters;

/// Data-parallel gradients: owns them as one flat float32 buffer (also for bfloat16 and float16
/// parameters), binds each parameter's gradient to its part, and sums the parts over all ranks
/// while backward still runs. Every rank holds all parameters and all gradients.
///
/// Buckets are launched in the plan's order on all ranks, whatever order gradients become ready in.
/// Gradients start as zero. On a device hooks run on the stream of the forward: the streams of
/// forward and finish() are one.
class GradientReducer final : public DataParallel {
 public:
  /// `parameters`: those that are trained, in the order of first use, equal on all ranks, on one
  /// device. `reduce`: float32, or bfloat16 to halve what travels.
  GradientReducer(comm::CommunicatorPtr communicator, core::ParameterSet parameters,
                  const BucketSizes& sizes, at::ScalarType reduce = at::kFloat);
  ~GradientReducer() override;
  GradientReducer(const GradientReducer&) = delete;
  GradientReducer& operator=(const GradientReducer&) = delete;

  /// Error `plugin_failed` naming a parameter whose gradient is no longer the one that was bound;
  /// the hooks throw it too.
  void begin_backward(bool last_micro_step) override;
  void end_backward() override {}
  [[nodiscard]] ReduceReport finish() override;
  [[nodiscard]] bool abandon() override;
  [[nodiscard]] const std::vector<at::Tensor>& flat() const override { return flat_; }
  [[nodiscard]] comm::Communicator* shard_ranks() const override { return nullptr; }
  void settle() override {}
  void parameters_changed() override {}
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
  void end_step();
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
  std::unique_ptr<Traffic> traffic_;
  std::unique_ptr<UnusedParameters> unused_;
  std::vector<autograd::GradientHook> hooks_;

  Phase phase_ = Phase::idle;
  std::vector<bool> ready_;      // by parameter, in the last micro-step
  std::vector<size_t> awaited_;  // by bucket: parameters that are not ready
  std::vector<Flight> flights_;  // of the buckets launched, in order
};

}  // namespace trireme::parallel

#include "trainer/step.h"

#include <trireme/autograd/backward.h>
#include <trireme/core/fault.h>
#include <trireme/optim/gradient_norm.h>

#include <limits>
#include <mutex>

#include "trainer/contribution.h"
#include "trainer/update_scales.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace trireme::trainer {
namespace {

using telemetry::Phase;
using telemetry::PhaseScope;

/// torch::nn modules of plugins draw from the process's default generator. Seeding it for each micro-step and rank makes their
/// draws a function of the run's position too, so that no generator state has to be saved.
void seed_default_generator(const core::RandomKey& batch, size_t micro_step, int rank) {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(batch.fold("default").fold(micro_step).fold(static_cast<uint64_t>(rank)).value());
}

}  // namespace

PublishedStep TrainStep::run(const std::vector<core::Batch>& micro_batches, double lr, Votes votes) {
  telemetry::Recorder& recorder = parts_.recorder;
  if (parts_.scaler.dynamic() || !loss_scale_.defined()) {
    loss_scale_ = parts_.scaler.scale().clone();  // update() changes it in place
    backward_scale_ = loss_scale_ / nominal_weight_;
  }
  Contribution contribution;
  at::Tensor control_vector;
  comm::WorkPtr control_sum;

  // Forward and backward of the micro-steps; the last backward reduces gradients as they become ready.
  for (size_t m = 0; m < micro_batches.size(); ++m) {
    const bool last = m + 1 == micro_batches.size();
    model::LossSums sums;
    {
      const PhaseScope phase(recorder, Phase::forward);
      seed_default_generator(micro_batches[m].random, m, parts_.all.rank());
      const precision::PrecisionScope scope(parts_.precision, parts_.device);
      sums = parts_.model.loss(micro_batches[m]);
      if (core::fault::at("step.loss") == core::fault::Action::nan)
        sums.loss_sum = sums.loss_sum * std::numeric_limits<double>::quiet_NaN();
      contribution.add(sums);
      if (metric_names_.empty())
        for (const auto& metric : sums.metrics) metric_names_.push_back(metric.first);
    }
    const PhaseScope phase(recorder, Phase::backward);
    if (last) {
      control_vector = contribution.control(votes, parts_.all.rank(), parts_.all.size());
      control_sum = parts_.all.all_reduce(control_vector);
    }
    parts_.data_parallel.begin_backward(last);
    autograd::backward(sums.loss_sum, backward_scale_);
    parts_.data_parallel.end_backward();
  }
  (void)core::fault::at("step.reduce");

  {
    const PhaseScope phase(recorder, Phase::comm_exposed);
    control_sum->wait();
    const parallel::ReduceReport reduced = parts_.data_parallel.finish();
    unused_ = reduced.unused;
    recorder.count(telemetry::Counter::comm_busy_ns, reduced.busy_ns + control_sum->busy_ns());
    recorder.count(telemetry::Counter::comm_bytes, reduced.bytes + static_cast<int64_t>(control_vector.nbytes()));
    recorder.count(telemetry::Counter::comm_calls, reduced.calls + 1);
  }

  if (parts_.before_update) parts_.before_update();
  // Judge, clip and step; every number stays on the device, equal on all ranks.
  const PhaseScope phase(recorder, Phase::optimizer);
  optim::GradientHealth health = optim::gradient_health(parts_.data_parallel.flat());
  if (comm::Communicator* const shards = parts_.data_parallel.shard_ranks(); shards != nullptr && shards->size() > 1) {
    shards->all_reduce(health.square_sum)->wait();
    health.nonfinite = optim::nonfinite_flag(health.square_sum);
  }
  const UpdateScales scales =
      update_scales(control_vector, parts_.all.size(), health, loss_scale_, nominal_weight_, max_grad_norm_);
  parts_.optimizer.step({.lr = lr, .gradient_scale = scales.gradient_scale, .nonfinite = scales.nonfinite});
  parts_.data_parallel.parameters_changed();
  parts_.scaler.update(scales.nonfinite);

  PublishedStep published;
  published.lr = lr;
  published.control = control_vector;
  published.gradient_norm = scales.norm;
  published.nonfinite = scales.nonfinite;
  published.loss_scale = loss_scale_;
  return published;
}

}  // namespace trireme::trainer

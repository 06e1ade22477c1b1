#include "trainer/step.h"

#include "trainer/control.h"

#include <trireme/autograd/backward.h>
#include <trireme/core/fault.h>
#include <trireme/optim/gradient_norm.h>

#include <limits>
#include <mutex>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

namespace trireme::trainer {
namespace {

using telemetry::Phase;
using telemetry::PhaseScope;

/// Adds up what the micro-steps of this rank contribute to the control vector.
class Contribution {
 public:
  void add(const model::LossSums& sums) {
    const at::Tensor loss = sums.loss_sum.detach().to(at::kDouble);
    const at::Tensor weight = sums.weight.to(loss.device(), at::kDouble);
    if (!loss_sum_.defined()) {
      loss_sum_ = loss;
      weight_ = weight;
      for (const auto& metric : sums.metrics) metrics_.push_back(metric.second.to(loss.device(), at::kDouble));
      return;
    }
    loss_sum_ = loss_sum_ + loss;
    weight_ = weight_ + weight;
    for (size_t i = 0; i < metrics_.size(); ++i) metrics_[i] = metrics_[i] + sums.metrics[i].second;
  }

  [[nodiscard]] at::Tensor control(TrainStep::Votes votes, int rank, int ranks) const {
    at::Tensor vector = at::zeros({control::first_metric(ranks) + static_cast<int64_t>(metrics_.size())}, loss_sum_.options());
    vector[control::weight].copy_(weight_);
    if (votes.stop) vector[control::stop_votes].fill_(1.0);
    if (votes.save) vector[control::save_votes].fill_(1.0);
    // The sum says that something was not finite, the flag says whose it was.
    const at::Tensor finite = loss_sum_.isfinite();
    vector[control::loss_sum].copy_(loss_sum_);
    vector[control::first_flag + rank].copy_(finite.logical_not());
    for (size_t i = 0; i < metrics_.size(); ++i)
      vector[control::first_metric(ranks) + static_cast<int64_t>(i)].copy_(metrics_[i]);
    return vector;
  }

 private:
  at::Tensor loss_sum_, weight_;
  std::vector<at::Tensor> metrics_;
};

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
  const at::Tensor loss_scale = parts_.scaler.scale().clone();  // update() changes it in place
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
    parts_.reducer.begin_backward(last);
    autograd::backward(sums.loss_sum, loss_scale / nominal_weight_);
  }
  (void)core::fault::at("step.reduce");

  {
    const PhaseScope phase(recorder, Phase::comm_exposed);
    control_sum->wait();
    const parallel::ReduceReport reduced = parts_.reducer.finish();
    unused_ = reduced.unused;
    recorder.count(telemetry::Counter::comm_busy_ns, reduced.busy_ns + control_sum->busy_ns());
    recorder.count(telemetry::Counter::comm_bytes, reduced.bytes + static_cast<int64_t>(control_vector.nbytes()));
    recorder.count(telemetry::Counter::comm_calls, static_cast<int64_t>(parts_.reducer.plan().buckets.size()) + 1);
  }

  // Judge, clip and step; every number stays on the device, equal on all ranks.
  const PhaseScope phase(recorder, Phase::optimizer);
  const optim::GradientHealth health = optim::gradient_health(parts_.reducer.flat());
  // loss_scale and W0 went into the gradients; W0 / W and 1 / loss_scale come out again here.
  const at::Tensor weight = control_vector[control::weight].clamp_min(1e-30);
  const at::Tensor average = weight.reciprocal().mul_(nominal_weight_).div_(loss_scale);
  const at::Tensor norm = health.square_sum.sqrt().mul_(average);
  at::Tensor gradient_scale = average.to(at::kFloat);
  if (max_grad_norm_ > 0) gradient_scale = gradient_scale * optim::clip_coefficient(norm, max_grad_norm_);
  const at::Tensor loss_flags =
      control_vector.narrow(0, control::first_flag, parts_.all.size()).sum().gt(0).to(at::kFloat);
  // A scale that is not finite would turn finite gradients into what the first two do not see.
  const at::Tensor scale_flag = gradient_scale.isfinite().logical_not().to(at::kFloat);
  const at::Tensor nonfinite = at::maximum(at::maximum(health.nonfinite, loss_flags), scale_flag);
  parts_.optimizer.step({.lr = lr, .gradient_scale = gradient_scale, .nonfinite = nonfinite});
  parts_.scaler.update(nonfinite);

  PublishedStep published;
  published.lr = lr;
  published.control = control_vector;
  published.gradient_norm = norm;
  published.nonfinite = nonfinite;
  published.loss_scale = loss_scale;
  return published;
}

}  // namespace trireme::trainer

#include "trainer/step.h"

#include <trireme/autograd/backward.h>
#include <trireme/core/fault.h>
#include <trireme/optim/gradient_norm.h>

#include <limits>
#include <mutex>
#include <utility>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

using telemetry::Phase;
using telemetry::PhaseScope;

/// torch::nn modules of plugins draw from the process's default generators. Seeding them for each micro-step (on devices: each
/// step) and rank makes their draws a function of the run's position too, so that no generator state has to be saved.
void seed_default_generator(at::Device device, const core::RandomKey& batch, size_t micro_step, int rank) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard lock(generator.mutex());
  generator.set_current_seed(batch.fold("default").fold(micro_step).fold(static_cast<uint64_t>(rank)).value());
}

}  // namespace

TrainStep::TrainStep(const Parts& parts, double nominal_weight, double max_grad_norm)
    : parts_(parts), nominal_weight_(nominal_weight), max_grad_norm_(max_grad_norm) {
  if (parts_.device.is_cpu()) return;
  requests_.emplace(parts_.device);
  answers_.emplace(parts_.device);
}

PublishedStep TrainStep::run(const data::LoadedBatch& batch, double lr, Votes votes) {
  const std::vector<core::Batch>& micro_batches = batch.micro_batches;
  const Wishes wishes{lr, votes};
  if (requests_) {
    requests_->send(lr, votes);
    seed_default_generator(parts_.device, micro_batches.front().random, 0, parts_.ranks.rank());
  }
  StepResult result;
  if (parts_.graphs != nullptr) {
    const bool repeated = repeats(batch);
    if (repeated && parts_.before_update) parts_.before_update();
    std::optional<PhaseScope> phase;
    std::optional<telemetry::Recorder::Unmarked> unmarked;  // recorded work has no moments of its own
    if (repeated) {
      phase.emplace(parts_.recorder, Phase::graph);
      unmarked.emplace(parts_.recorder);
    }
    bool computed = false;
    const auto body = [&](const auto& batches) {
      // A second call comes after a recording that failed on some rank, and is not recorded.
      return repeated && !std::exchange(computed, true) ? record(batches, wishes) : compute(batches, wishes, repeated);
    };
    result = parts_.graphs->run(micro_batches, batch.global.count, body, [this] { return parts_.data_parallel.abandon(); });
    if (repeated && !computed) comm::count_again(parts_.ranks, result.calls);
  } else {
    result = compute(micro_batches, wishes, false);
  }
  unused_ = result.traffic.unused;
  count_traffic(result.traffic);
  PublishedStep published = publish(result);
  published.lr = lr;
  return published;
}

StepResult TrainStep::record(const std::vector<core::Batch>& micro_batches, const Wishes& wishes) {
  const telemetry::SectionScope scope(parts_.recorder.section("record_graph", telemetry::Category::model_compilation));
  const std::vector<comm::TrafficRow> before = comm::traffic_of(parts_.ranks);
  StepResult result = compute(micro_batches, wishes, true);
  result.calls = comm::traffic_since(before, comm::traffic_of(parts_.ranks));
  return result;
}

/// On a device nothing here waits for it or depends on its values, so that it can be recorded.
StepResult TrainStep::compute(const std::vector<core::Batch>& micro_batches, const Wishes& wishes, bool repeated) {
  telemetry::Recorder& recorder = parts_.recorder;
  if (parts_.scaler.dynamic() || !loss_scale_.defined()) {
    loss_scale_ = parts_.scaler.scale().clone();  // update() changes it in place
    backward_scale_ = loss_scale_ / nominal_weight_;
  }
  Contribution contribution;
  at::Tensor control_vector;
  comm::WorkPtr control_sum;
  parallel::ReduceReport traffic;

  // Forward and backward of the micro-steps; the last backward reduces gradients as they become ready.
  for (size_t m = 0; m < micro_batches.size(); ++m) {
    const bool last = m + 1 == micro_batches.size();
    model::LossSums sums;
    {
      const PhaseScope phase(recorder, Phase::forward);
      if (!requests_) seed_default_generator(parts_.device, micro_batches[m].random, m, parts_.ranks.rank());
      const precision::PrecisionScope scope(parts_.precision, parts_.device.type());
      sums = parts_.model.loss(micro_batches[m]);
      if (core::fault::at("step.loss") == core::fault::Action::nan)
        sums.loss_sum = sums.loss_sum * std::numeric_limits<double>::quiet_NaN();
      contribution.add(sums);
      if (metric_names_.empty())
        for (const auto& metric : sums.metrics) metric_names_.push_back(metric.first);
    }
    if (parts_.debugger != nullptr) parts_.debugger->loss({.micro_step = m, .loss_sum = &sums.loss_sum, .weight = &sums.weight});
    const PhaseScope phase(recorder, Phase::backward);
    if (last) {
      control_vector = requests_ ? contribution.control_on_device(requests_->votes(), parts_.ranks.rank(), parts_.ranks.size())
                                 : contribution.control(wishes.votes, parts_.ranks.rank(), parts_.ranks.size());
      control_sum = parts_.ranks.all_reduce(control_vector);
    }
    parts_.data_parallel.begin_backward(last);
    autograd::backward(sums.loss_sum, backward_scale_);
    parts_.data_parallel.end_backward();
  }
  (void)core::fault::at("step.reduce");

  {
    const PhaseScope phase(recorder, Phase::comm_exposed);
    control_sum->wait();
    traffic = parts_.data_parallel.finish();
    traffic.busy_ns += control_sum->busy_ns();
    traffic.bytes += static_cast<int64_t>(control_vector.nbytes());
    traffic.calls += 1;
  }

  if (parts_.before_update && !repeated) parts_.before_update();
  // Judge, clip and step; every number stays on the device, equal on all ranks.
  const PhaseScope phase(recorder, Phase::optimizer);
  optim::GradientHealth health = optim::gradient_health(parts_.data_parallel.flat());
  if (comm::Communicator* const shards = parts_.data_parallel.shard_ranks(); shards != nullptr && shards->size() > 1) {
    shards->all_reduce(health.square_sum)->wait();
    health.nonfinite = optim::nonfinite_flag(health.square_sum);
  }
  const UpdateScales scales =
      update_scales(control_vector, parts_.ranks.size(), health, loss_scale_, nominal_weight_, max_grad_norm_);
  optim::StepInputs inputs{.lr = wishes.lr, .gradient_scale = scales.gradient_scale, .nonfinite = scales.nonfinite};
  if (requests_) inputs.device_lr = requests_->lr();
  const bool shows = parts_.debugger != nullptr && parts_.debugger->reads_gradients() && !repeated;
  if (shows) show_gradients(scales);
  parts_.optimizer.step(inputs);
  if (shows) parts_.debugger->updated({.lr = wishes.lr});
  parts_.data_parallel.parameters_changed();
  parts_.scaler.update(scales.nonfinite);

  StepResult result{control_vector, scales.norm, scales.nonfinite, loss_scale_, {}, std::move(traffic), {}};
  if (requests_)
    result.numbers = at::cat({at::stack({result.gradient_norm, result.nonfinite.to(at::kDouble), result.loss_scale.to(at::kDouble)}),
                              control_vector});
  return result;
}

/// The mean gradient is what clipping has left, divided by what clipping was.
void TrainStep::show_gradients(const UpdateScales& scales) {
  at::Tensor mean_scale = scales.gradient_scale;
  if (max_grad_norm_ > 0) mean_scale = mean_scale * ((scales.norm + 1e-6) / max_grad_norm_).clamp_min(1.0);
  parts_.debugger->gradients({.gradient_scale = &scales.gradient_scale, .mean_scale = &mean_scale, .nonfinite = &scales.nonfinite});
}

void TrainStep::count_traffic(const parallel::ReduceReport& traffic) {
  parts_.recorder.count(telemetry::Counter::comm_busy_ns, traffic.busy_ns);
  parts_.recorder.count(telemetry::Counter::comm_bytes, traffic.bytes);
  parts_.recorder.count(telemetry::Counter::comm_calls, traffic.calls);
}

PublishedStep TrainStep::publish(const StepResult& result) {
  PublishedStep published;
  published.left_out = result.nonfinite;
  if (!answers_) {
    published.control = result.control;
    published.gradient_norm = result.gradient_norm;
    published.nonfinite = result.nonfinite;
    published.loss_scale = result.loss_scale;
    return published;
  }
  const StepAnswers::Answer answer = answers_->fetch(result.numbers);
  published.arrived = answer.arrived;
  published.gradient_norm = answer.values.select(0, 0);
  published.nonfinite = answer.values.select(0, 1);
  published.loss_scale = answer.values.select(0, 2);
  published.control = answer.values.narrow(0, 3, answer.values.numel() - 3);
  return published;
}

}  // namespace trireme::trainer

#include "trainer/monitor.h"

#include <algorithm>

#include <fmt/format.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <trireme/core/log.h>

namespace trireme::trainer {

Monitor::Monitor(const Settings& settings, comm::World& world, telemetry::Recorder& recorder,
                 std::unique_ptr<report::RunFolder> folder)
    : settings_(settings), world_(world), recorder_(recorder), folder_(std::move(folder)), reducer_(world.all()),
      line_(STDERR_FILENO) {}

void Monitor::begin(int64_t step, int64_t total_steps, const data::Sampler& sampler) {
  total_steps_ = total_steps;
  logged_step_ = step;
  if (!leads()) return;
  log::info("{} step {} of {} ({:.2f} epochs of {} samples, {} a step) on {} rank{}", step == 0 ? "starting at" : "continuing at",
            step, total_steps, sampler.epochs_of_steps(total_steps), sampler.settings().samples,
            sampler.settings().global_batch, world_.size(), world_.size() == 1 ? "" : "s");
}

void Monitor::step(const PublishedStep& published, const Agreed& agreed, int64_t skipped) {
  if (published.step % settings_.log_every != 0 && published.step != total_steps_) return;
  std::vector<telemetry::StepRecord> records = recorder_.recent(static_cast<size_t>(settings_.log_every) + 8);
  // Records count from 0: record s became step s + 1.
  std::erase_if(records, [&](const telemetry::StepRecord& r) { return r.step < logged_step_ || r.step >= published.step; });
  const int64_t steps = published.step - logged_step_;
  logged_step_ = published.step;
  logged_steps_ += steps;
  const std::optional<report::Window> window = reducer_.reduce(report::row_of(records));
  if (!leads()) return;

  const double seconds = window->items[report::index_of(report::Item::step_seconds)].mean;
  report::StepMetrics metrics;
  metrics.step = published.step;
  metrics.epoch = published.global.epoch;
  metrics.loss = agreed.loss;
  metrics.lr = published.lr;
  metrics.grad_norm = published.gradient_norm.item<double>();
  metrics.samples = published.global.position_after;
  metrics.tokens = published.tokens;
  metrics.step_seconds = seconds;
  metrics.skipped = skipped;
  if (seconds > 0) {
    metrics.samples_per_second = static_cast<double>(published.global.count) / seconds;
    metrics.tokens_per_second = metrics.samples_per_second * static_cast<double>(settings_.tokens_per_sample);
  }
  folder_->log_metrics(metrics, *window);

  seconds_per_step_ = seconds_per_step_ == 0 || steps == 0 ? seconds : 0.8 * seconds_per_step_ + 0.2 * seconds;
  const report::Slowest slowest = report::slowest_of(window->rows);
  line_.show({.step = published.step,
              .total = total_steps_,
              .loss = agreed.loss,
              .lr = published.lr,
              .per_second = settings_.tokens_per_sample > 0 ? metrics.tokens_per_second : metrics.samples_per_second,
              .unit = settings_.tokens_per_sample > 0 ? "tokens" : "samples",
              .seconds_left = seconds_per_step_ * static_cast<double>(total_steps_ - published.step),
              .slowest_rank = slowest.rank,
              .slowest_excess = slowest.excess});
}

void Monitor::skipped(int64_t step, const std::string& why) {
  if (!leads()) return;
  line_.clear();
  log::warning("update left out at {}", why);
  event("skipped", step, {{"why", why}});
}

void Monitor::evaluated(const report::EvalMetrics& result, const guard::EarlyStopping::Decision& decision) {
  if (!leads()) return;
  line_.clear();
  std::string text = fmt::format("evaluation at step {}: loss {:.4f}", result.step, result.loss);
  for (const auto& [name, value] : result.metrics) text += fmt::format(", {} {:.4f}", name, value);
  log::info("{} over {} samples{}{}", text, result.samples, decision.improved ? ", the best so far" : "",
            decision.stop ? "; no improvement any more, the run ends" : "");
  folder_->log_eval(result);
}

void Monitor::saved(const checkpoint::Saver::Result& result) {
  if (!leads()) return;
  if (!result.error) return event("saved", result.step, {{"bytes", result.committed.bytes}, {"seconds", result.seconds}});
  line_.clear();
  log::warning("the checkpoint of step {} could not be saved: {}", result.step, result.error->message());
  if (!result.error->hint().empty()) log::warning("hint: {}", result.error->hint());
  event("save_failed", result.step, {{"why", result.error->message()}});
}

void Monitor::event(const std::string& name, int64_t step, std::vector<std::pair<std::string, core::Scalar>> details) {
  if (leads()) folder_->log_event({.name = name, .step = step, .details = std::move(details)});
}

void Monitor::warn_unused(const std::vector<std::string>& names) {
  if (names.empty() || warned_unused_) return;
  warned_unused_ = true;
  std::string list;
  for (size_t i = 0; i < names.size() && i < 8; ++i) list += (i == 0 ? "" : ", ") + names[i];
  log::warning("{} parameter{} got no gradient: {}{}", names.size(), names.size() == 1 ? "" : "s", list, names.size() > 8 ? ", ..." : "");
}

void Monitor::finish(int64_t step, const std::vector<report::UnitRow>& units) {
  const auto over_ranks = report::reduce_units(*world_.all(), units);
  if (!leads()) return;
  line_.clear();
  // A finished run that is started again measures nothing: its report stays.
  if (logged_steps_ > 0) log::info("step {}: {}", step, folder_->write_report(*over_ranks));
  log::info("report: {}", folder_->paths().report().string());
}

}  // namespace trireme::trainer

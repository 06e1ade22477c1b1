#include "trainer/monitor.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include <fmt/format.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <trireme/core/log.h>
#include <trireme/report/html.h>
#include <trireme/report/run_records.h>
#include <trireme/report/traffic_reducer.h>

namespace trireme::trainer {

namespace {

/// How often the run says that it goes on, for whoever looks at the folder after it was killed.
constexpr std::chrono::seconds alive_every{10};

/// The scheduler's name for the job, for whoever collects figures of many.
std::string job_name() {
  const char* const slurm = std::getenv("SLURM_JOB_ID");
  return slurm != nullptr ? slurm : "";
}

const std::string& host_of(const comm::World& world, int rank) { return world.ranks()[static_cast<size_t>(rank)].host; }

}  // namespace

Monitor::Monitor(Settings settings, comm::World& world, telemetry::Recorder& recorder, Measurements& measurements,
                 std::unique_ptr<report::RunFolder> folder)
    : settings_(std::move(settings)), world_(world), recorder_(recorder), folder_(std::move(folder)), measurements_(measurements),
      reducer_(world.all()), line_(STDERR_FILENO) {
  if (settings_.telemetry.rank_records)
    rank_log_.emplace(settings_.paths, world.rank(), host_of(world, world.rank()), settings_.attempt, settings_.resumed_step);
  if (leads() && settings_.telemetry.tensorboard) tensorboard_.emplace(settings_.paths.root / "tensorboard", settings_.resumed_step);
}

void Monitor::begin(int64_t step, int64_t position, int64_t total_steps, const data::Sampler& sampler, const data::Loader& loader) {
  total_steps_ = total_steps;
  logged_step_ = read_.step = step;
  logged_position_ = position;
  measurements_.begin(loader.counters());
  if (!leads()) return;
  if (settings_.telemetry.prometheus)
    prometheus_.emplace(*settings_.telemetry.prometheus, report::PrometheusFile::Labels{.job = job_name(), .run = settings_.run},
                        report::hosts_of(world_.ranks()), total_steps);
  folder_->first_step();
  log::info("{} step {} of {} ({:.2f} epochs of {} samples, {} a step) on {} rank{}", step == 0 ? "starting at" : "continuing at",
            step, total_steps, sampler.epochs_of_steps(total_steps), sampler.settings().samples,
            sampler.settings().global_batch, world_.size(), world_.size() == 1 ? "" : "s");
}

std::optional<Monitor::Figures> Monitor::step(const PublishedStep& published, const Agreed& agreed, int64_t skipped,
                                              const data::Loader& loader) {
  read_ = {.step = published.step,
           .epoch = published.global.epoch,
           .position = published.global.position_after,
           .tokens = published.tokens,
           .skipped = skipped,
           .loss = agreed.loss,
           .lr = published.lr,
           .grad_norm = published.gradient_norm.item<double>(),
           .loss_scale = published.loss_scale.item<double>()};
  if (const auto now = std::chrono::steady_clock::now(); leads() && now - alive_ > alive_every) {
    alive_ = now;
    folder_->alive();
  }
  if (read_.step % settings_.telemetry.log_every != 0 && read_.step != total_steps_) return std::nullopt;
  return log_step(read_, loader);
}

std::optional<Monitor::Figures> Monitor::last_step(const data::Loader& loader) {
  if (read_.step == logged_step_) return std::nullopt;
  return log_step(read_, loader);
}

Monitor::Figures Monitor::log_step(const Read& read, const data::Loader& loader) {
  std::vector<telemetry::StepRecord> records = recorder_.recent(static_cast<size_t>(settings_.telemetry.log_every) + 8);
  // Records count from 0: record s became step s + 1.
  std::erase_if(records, [&](const telemetry::StepRecord& r) { return r.step < logged_step_ || r.step >= read.step; });
  const int64_t steps = read.step - logged_step_;
  const int64_t samples = read.position - logged_position_;
  logged_step_ = read.step;
  logged_position_ = read.position;
  logged_steps_ += steps;
  const report::RankRow row = report::row_of(records, measurements_.since_last(records, loader.counters()));
  if (rank_log_) rank_log_->log(row, read.step);
  const std::optional<report::Window> window = reducer_.reduce(row);
  if (!leads()) return {};

  const double seconds = window->items[report::index_of(report::Item::step_seconds)].mean;
  report::StepMetrics metrics;
  metrics.step = read.step;
  metrics.epoch = read.epoch;
  metrics.loss = read.loss;
  metrics.lr = read.lr;
  metrics.grad_norm = read.grad_norm;
  metrics.samples = read.position;
  metrics.tokens = read.tokens;
  metrics.step_seconds = seconds;
  metrics.skipped = read.skipped;
  metrics.peak_flops_per_rank = measurements_.peak_flops();
  if (seconds > 0 && steps > 0) {
    metrics.samples_per_second = static_cast<double>(samples) / (static_cast<double>(steps) * seconds);
    metrics.tokens_per_second = metrics.samples_per_second * static_cast<double>(settings_.tokens_per_sample);
  }
  log(metrics, *window);

  seconds_per_step_ = seconds_per_step_ == 0 || steps == 0 ? seconds : 0.8 * seconds_per_step_ + 0.2 * seconds;
  const report::Slowest slowest = report::slowest_of(window->rows);
  line_.show({.step = read.step,
              .total = total_steps_,
              .loss = read.loss,
              .lr = read.lr,
              .per_second = settings_.tokens_per_sample > 0 ? metrics.tokens_per_second : metrics.samples_per_second,
              .unit = settings_.tokens_per_sample > 0 ? "tokens" : "samples",
              .seconds_left = seconds_per_step_ * static_cast<double>(total_steps_ - read.step),
              .slowest_rank = slowest.rank,
              .slowest_excess = slowest.excess});
  const auto most = [&](report::Item item) { return window->items[report::index_of(item)].max; };
  return Figures{{"loss", read.loss},
                 {"grad_norm", metrics.grad_norm},
                 {"lr", metrics.lr},
                 {"loss_scale", read.loss_scale},
                 {"skipped", static_cast<double>(read.skipped)},
                 {"step", static_cast<double>(metrics.step)},
                 {"step_seconds", seconds},
                 {"samples_per_second", metrics.samples_per_second},
                 {"rss", most(report::Item::rss)},
                 {"allocated", most(report::Item::allocated)}};
}

/// Everything that shows a logged step.
void Monitor::log(const report::StepMetrics& metrics, const report::Window& window) {
  tell(folder_->log_metrics(metrics, window), metrics.step);
  if (tensorboard_) report::log(*tensorboard_, metrics, window, std::array{report::TaggedValue("run/goodput", folder_->goodput().goodput())});
  if (prometheus_) prometheus_->log(metrics, window);
}

void Monitor::tell(const report::Findings& findings, int64_t step) {
  if (findings.straggler || !findings.leaks.empty()) line_.clear();
  if (const auto& slow = findings.straggler)
    log::warning("step {}: rank {} on {} has been {:.0f} % slower than the others since step {}, mostly in {}", step, slow->rank,
                 host_of(world_, slow->rank), 100 * slow->excess, slow->from_step, telemetry::name_of(slow->section));
  for (const report::Leak& leak : findings.leaks)
    log::warning("step {}: memory ({}) of rank {} on {} grows by {:.1f} KiB a step since step {}", step, leak.what, leak.rank,
                 host_of(world_, leak.rank), leak.bytes_per_step / 1024, leak.from_step);
}

void Monitor::skipped(int64_t step, const std::string& why) {
  if (!leads()) return;
  line_.clear();
  log::warning("update left out at {}", why);
  event("skipped", step, {{"why", why}});
}

void Monitor::saving_took(double seconds) {
  if (leads()) folder_->checkpoint(seconds);
}

void Monitor::evaluated(const report::EvalMetrics& result, const guard::EarlyStopping::Decision& decision, double seconds) {
  if (!leads()) return;
  folder_->evaluation(seconds);
  if (tensorboard_) report::log(*tensorboard_, result);
  if (prometheus_) prometheus_->log(result);
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

void Monitor::found(std::span<const std::string> lines) {
  if (leads()) folder_->log_findings(lines);
}

void Monitor::histogram(const std::string& tag, std::span<const double> values, int64_t step) {
  if (tensorboard_) report::log_histogram(*tensorboard_, tag, values, step);
}

void Monitor::warn_unused(const std::vector<std::string>& names) {
  if (names.empty() || warned_unused_) return;
  warned_unused_ = true;
  std::string list;
  for (size_t i = 0; i < names.size() && i < 8; ++i) list += (i == 0 ? "" : ", ") + names[i];
  log::warning("{} parameter{} got no gradient: {}{}", names.size(), names.size() == 1 ? "" : "s", list, names.size() > 8 ? ", ..." : "");
}

void Monitor::finish(int64_t step, const std::vector<report::UnitRow>& units, const std::vector<comm::TrafficRow>& traffic,
                     bool done) {
  const auto units_over_ranks = report::reduce_units(*world_.all(), units);
  auto sections = report::reduce_sections(*world_.all(), recorder_.sections().totals());
  auto traffic_over_ranks = report::reduce_traffic(*world_.all(), traffic, std::max<int64_t>(1, logged_steps_));
  if (!leads()) return;
  line_.clear();
  folder_->finish(done);
  // A finished run that is started again measures nothing: its report stays.
  if (logged_steps_ > 0) {
    report::ReportParts parts;
    parts.units = *units_over_ranks;
    parts.sections = std::move(*sections);
    parts.communication = std::move(*traffic_over_ranks);
    parts.memory_forecast = measurements_.state();
    parts.peak_flops_per_rank = measurements_.peak_flops();
    parts.known = settings_.known;
    const std::string verdict = folder_->write_report(std::move(parts));
    log::info("step {}: {}", step, verdict);
    if (tensorboard_) report::log_text(*tensorboard_, "verdict", verdict, step);
  }
  if (tensorboard_) tensorboard_->flush();
  if (prometheus_) prometheus_->flush();
  try {
    report::write_html(folder_->paths().root / "report.html", report::run_records(folder_->paths(), /*held=*/true));
    log::info("report: {}", (folder_->paths().root / "report.html").string());
  } catch (const std::exception& error) {
    log::warning("report.html could not be written: {}", error.what());
  }
}

}  // namespace trireme::trainer

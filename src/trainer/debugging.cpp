#include "trainer/debugging.h"

#include <algorithm>
#include <limits>
#include <utility>

#include <trireme/core/log.h>

#include "debug/digest.h"
#include "trainer/parameter_figures.h"

#include <ATen/ATen.h>

namespace trireme::trainer {

Debugging::Debugging(const RunConfig& config, debug::Subject subject, comm::World& world, Monitor& monitor, Profiler& profiler)
    : config_(config), world_(world), monitor_(monitor), profiler_(profiler),
      debugger_({.subject = std::move(subject),
                 .host = world.ranks()[static_cast<size_t>(world.rank())].host,
                 .logs = monitor.settings().paths.logs() / "debug",
                 .refuse = config.run.profile == "production",
                 .attempt = monitor.settings().attempt}) {
  if (!leads()) return;
  control_.emplace(debug::ControlPaths{monitor.settings().paths.control()});
  rules_.emplace(config.debug);
}

void Debugging::begin(int64_t step) {
  for (const debug::Request& request : debug::requests_of(config_.debug)) apply(request, step);
  write_status(step, /*running=*/true);
}

void Debugging::look() {
  for (debug::Request& request : control_->take()) asked_.push_back(std::move(request));
  if (control_->has_refusals() && asked_.empty()) write_status(-1, /*running=*/true);
}

bool Debugging::vote() {
  return !asked_.empty() && !std::exchange(voted_, true);
}

void Debugging::begin_step(int64_t step) {
  if (std::exchange(due_, false)) {
    const std::string lines = world_.all()->broadcast_bytes(leads() ? debug::to_lines(asked_) : std::string(), 0);
    asked_.clear();
    voted_ = false;
    for (const debug::Request& request : debug::parse_lines(lines)) apply(request, step);
    write_status(step, /*running=*/true);
  }
  debugger_.begin_step(step + 1);
}

void Debugging::end_step(int64_t step) {
  debugger_.end_step();
  const debug::Debugger::Change change = debugger_.expire(step);
  follow(change, step);
  if (!change.off.empty() || gave_up_) tell(step);
}

void Debugging::apply(const debug::Request& request, int64_t step) { follow(debugger_.apply(request, step), step); }

/// Profilers are not tools: a recording ends on all ranks together.
void Debugging::follow(const debug::Debugger::Change& change, int64_t step) {
  for (const debug::Switch which : change.off)
    if (is_profiler(which)) profiler_.finish(which, step);
  for (const debug::Switch which : change.on)
    if (is_profiler(which)) profiler_.start(which, debugger_.on_here(which), step);
  settle();
}

void Debugging::settle() {
  for (const Profiler::GivenUp& one : profiler_.take_given_up()) {
    if (leads()) monitor_.make_room();
    debugger_.given_up(one.which, one.since_step, one.why);
    gave_up_ = true;
  }
}

void Debugging::decided(const PublishedStep& published, const Agreed& agreed, int64_t skipped,
                        std::span<const std::string> metric_names) {
  const bool rules = leads() && !rules_->empty();
  if (!debugger_.active() && !rules) return;
  debug::Decided seen{.step = published.step,
                      .loss = agreed.loss,
                      .grad_norm = published.gradient_norm.item<double>(),
                      .lr = published.lr,
                      .loss_scale = published.loss_scale.item<double>(),
                      .left_out = published.nonfinite.item<float>() != 0,
                      .skipped = skipped,
                      .first_nonfinite_rank = agreed.first_nonfinite_rank,
                      .metrics = {}};
  for (size_t i = 0; i < metric_names.size() && i < agreed.metrics.size(); ++i) seen.metrics.emplace_back(metric_names[i], agreed.metrics[i]);
  debugger_.decided(seen);
  if (rules) observe(seen);
}

void Debugging::observe(const debug::Decided& seen) {
  Monitor::Figures figures = {{"loss", seen.loss},
                              {"grad_norm", seen.grad_norm},
                              {"lr", seen.lr},
                              {"loss_scale", seen.loss_scale},
                              {"skipped", static_cast<double>(seen.skipped)},
                              {"step", static_cast<double>(seen.step)}};
  for (const char* const name : {"step_seconds", "samples_per_second", "rss", "allocated"}) {
    const auto found = std::ranges::find(logged_, name, &Monitor::Figures::value_type::first);
    figures.emplace_back(name, found != logged_.end() ? found->second : std::numeric_limits<double>::quiet_NaN());
  }
  figures.insert(figures.end(), seen.metrics.begin(), seen.metrics.end());
  for (debug::Request& request : rules_->observe(figures, debugger_.switches_on())) asked_.push_back(std::move(request));
}

void Debugging::log(int64_t step, const Monitor::Figures& figures) {
  logged_ = figures;
  tell(step);
}

void Debugging::tell(int64_t step) {
  gave_up_ = false;
  if (!debugger_.has_digest()) return;
  const std::vector<std::string> by_rank = world_.all()->gather_bytes(debugger_.digest(), 0);
  if (!leads()) return;
  debugger_.heard(by_rank);
  const debug::DigestSummary summary =
      debug::digest_summary(by_rank, step, monitor_.settings().attempt, report::hosts_of(world_.ranks()));
  if (!summary.console.empty()) monitor_.make_room();
  for (const std::string& line : summary.console) trireme::log::warning("{}", line);
  monitor_.found(summary.lines);
  if (monitor_.draws())
    for (const ParameterFigure& one : parameter_figures(by_rank)) monitor_.histogram(one.tag, one.logarithms, one.step);
  write_status(step, /*running=*/true);
}

/// Only what has changed: each writing is waited for by all ranks.
void Debugging::write_status(int64_t step, bool running) {
  if (!control_) return;
  std::string status = debugger_.status_json(0) + (running ? "" : " ended");
  if (status == status_ && !control_->has_refusals()) return;
  status_ = std::move(status);
  control_->write_status(debugger_.status_json(step), monitor_.settings().attempt, running);
}

void Debugging::finish(int64_t step) {
  apply({.action = debug::Request::Action::disable, .origin = "end of the run"}, step);
  tell(step);
  if (!control_) return;
  for (const debug::Request& request : asked_) debugger_.refuse(request, "the run has ended");
  write_status(step, /*running=*/false);
  control_.reset();
}

}  // namespace trireme::trainer

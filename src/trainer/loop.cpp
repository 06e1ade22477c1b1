#include "trainer/loop.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <ATen/ATen.h>

#include <trireme/core/fault.h>
#include <trireme/parallel/replicas.h>
#include <trireme/telemetry/span_log.h>

namespace trireme::trainer {
namespace {

/// How many steps pass before the host looks at what a step published; it never waits for the device.
constexpr size_t decision_lag_steps = 2;
/// Rank 0 looks for control files no more often: they may lie on a file system shared by thousands.
constexpr std::chrono::milliseconds requests_every{200};
constexpr std::chrono::microseconds device_look_every{50};

data::LoaderSettings loader_settings(const RunConfig& config, const comm::World& world, const BatchLayout& layout, at::Device device,
                                     telemetry::Recorder& recorder) {
  return {.rank = world.rank(),
          .ranks = world.size(),
          .batch_size = layout.batch_size,
          .workers = config.data.workers,
          .place = DeviceFeed::place(device, config.data.pin_memory),
          .recorder = &recorder};
}

/// More overflows in a row than it takes to halve the largest scale down to nothing useful.
constexpr int64_t overflows_until_judged = 40;

}  // namespace

Loop::Loop(const Context& context)
    : context_(context), all_(*context.world.all()), state_(context.state),
      loader_(context.data.train, context.sampler, data::TransformChain(context.config.data.transforms, /*training=*/true),
              loader_settings(context.config, context.world, context.layout, context.parts.device, context.recorder), state_.position),
      feed_(loader_, *context.parts.model, context.parts.device),
      step_({*context.parts.model, *context.parts.data_parallel, *context.parts.optimizer, *context.parts.scaler,
             context.parts.precision, context.parts.device, *context.parts.ranks, context.recorder, context.graphs,
             &context.debugging.tools(), [this] { before_update(); }},
            context.parts.model->nominal_weight_per_sample() * static_cast<double>(context.layout.global_batch),
            context.config.train.max_grad_norm),
      nonfinite_(context.config.guard) {
  const RunConfig& config = context.config;
  if (context.data.eval)
    evaluation_.emplace(context.data.eval, data::TransformChain(config.data.transforms, /*training=*/false),
                        Evaluation::Settings{.batch_size = config.eval.batch_size.value_or(context.layout.batch_size),
                                             .workers = config.data.workers,
                                             .recorder = &context.recorder},
                        all_);
  if (!context.checkpoints.resumed()) return;
  if (context.checkpoints.resumed_from_own()) last_saved_ = state_.step;
  if (!context.early_stopping.history().empty()) last_evaluated_ = context.early_stopping.history().back().step;
  early_stop_ = context.early_stopping.exhausted();
}

int Loop::run() {
  context_.monitor.begin(state_.step, state_.position, context_.total_steps, context_.sampler, loader_);
  context_.debugging.begin(state_.step);
  while (state_.step < context_.total_steps && !stop_ && !early_stop_) {
    train_one_step();
    if (state_.step == context_.total_steps) break;
    if (evaluation_ && due(context_.config.eval.every_steps)) evaluate();
    save_due_ = save_due_ || due(context_.config.checkpoint.every_steps);
  }
  decide_all();
  if (const auto figures = context_.monitor.last_step(loader_)) context_.debugging.log(state_.step, *figures);
  if (stop_ && state_.step < context_.total_steps) {
    save_to_the_end();
    return static_cast<int>(ErrorKind::stopped);
  }
  save_to_the_end();  // before the evaluation: whatever happens in it, the steps are not lost
  if (evaluation_ && last_evaluated_ != state_.step && (context_.config.eval.at_end || due(context_.config.eval.every_steps))) {
    evaluate();
    last_saved_ = -1;
    save_to_the_end();
  }
  return 0;
}

void Loop::train_one_step() {
  telemetry::Recorder& recorder = context_.recorder;
  core::fault::set_step(state_.step);
  context_.debugging.begin_step(state_.step);
  context_.profiler.begin_step(state_.step);
  recorder.begin_step(state_.step);
  (void)core::fault::at("step.begin");
  // The state of the steps before is saved here, so that its time belongs to a step; evaluations have been made.
  if (save_due_) save();
  std::optional<data::LoadedBatch> batch;
  {
    const telemetry::PhaseScope phase(recorder, telemetry::Phase::data);
    const int64_t since = telemetry::now_ns();
    batch = feed_.next();
    check(batch.has_value(), "the training loader does not end");
    if (context_.debugging.active())
      context_.debugging.tools().batch(seen_batch(*batch, static_cast<double>(telemetry::now_ns() - since) * 1e-9));
  }
  if (context_.graphs != nullptr) context_.graphs->hold(context_.debugging.needs_eager_steps());
  const bool repeats = step_.repeats(*batch);
  if (!repeats) context_.unit_statistics.begin_step(batch->micro_batches.size(), context_.profiler.recording());
  PublishedStep published = step_.run(*batch, learning_rate(), votes());
  if (!repeats) context_.unit_statistics.end_step();
  check_metric();
  if (context_.parts.average) {
    const telemetry::PhaseScope phase(recorder, telemetry::Phase::optimizer);
    context_.parts.average->update(state_.step + 1, published.left_out);
  }
  const data::GlobalBatch& global = batch->global;
  state_.step += 1;
  state_.position = global.position_after;
  state_.tokens += global.count * context_.parts.tokens_per_sample;
  context_.status.step = state_.step;
  published.step = state_.step;
  published.global = global;
  published.tokens = state_.tokens;
  for (const core::Batch& micro : batch->micro_batches) recorder.count(telemetry::Counter::samples, micro.size());
  recorder.count(telemetry::Counter::tokens, global.count * context_.parts.tokens_per_sample);
  context_.monitor.warn_unused(step_.unused_parameters());
  pending_.push_back(std::move(published));
  recorder.end_step();
  context_.profiler.end_step(state_.step);
  context_.debugging.end_step(state_.step);
  check_replicas();
  pending_.back().arrived = device::Mark::now(context_.parts.device);  // what is known by then: the step's times, too
  if (pending_.size() > decision_lag_steps) decide_oldest();
}

/// A mistyped eval.metric must not show at the end of a long run.
void Loop::check_metric() const {
  if (!evaluation_ || pending_.size() > 0) return;
  report::EvalMetrics names;
  for (const std::string& name : step_.metric_names()) names.metrics.emplace_back(name, 0.0);
  (void)metric_of(names, context_.config.eval.metric);
}

/// The host reads a step that lies two steps back; every rank reads the same numbers and decides the same.
void Loop::decide_oldest() {
  const PublishedStep step = std::move(pending_.front());
  pending_.pop_front();
  wait_for(step);
  const Agreed agreed = read_control(step.control, all_.size());
  if (step.nonfinite.item<float>() != 0) {
    state_.skipped += 1;
    context_.recorder.count(telemetry::Counter::skipped_steps, 1);
    const std::string where = describe_nonfinite(step, agreed);
    context_.monitor.skipped(step.step, where);
    // A dynamic loss scale finds its level by overflowing: that is no fault of the model.
    const bool searching = context_.parts.precision.loss_scale == precision::LossScale::dynamic && agreed.first_nonfinite_rank < 0;
    searching_ = searching ? searching_ + 1 : 0;
    if (!searching || searching_ > overflows_until_judged) judge_nonfinite(step, agreed, where);
  } else {
    searching_ = 0;
    (void)nonfinite_.judge(step.step, -1);
  }
  stop_ = stop_ || agreed.stop;
  save_due_ = save_due_ || agreed.save;
  if (agreed.debug) context_.debugging.note_agreed();
  if (context_.checkpoints.under_way() && step.step > save_stage_began_ && !agreed.saving) {
    save_stage_began_ = state_.step;
    if (const auto result = context_.checkpoints.advance()) note_save(*result, /*must_succeed=*/false);
  }
  Debugging& debugging = context_.debugging;
  debugging.decided(step, agreed, state_.skipped, step_.metric_names());
  if (const auto figures = context_.monitor.step(step, agreed, state_.skipped, loader_)) debugging.log(step.step, *figures);
}

debug::BatchSeen Loop::seen_batch(const data::LoadedBatch& batch, double wait_seconds) {
  const data::LoaderCounters counters = loader_.counters();
  // After a pause nobody has looked for long.
  const bool follows = std::exchange(batch_seen_at_, state_.step) == state_.step - 1;
  const int64_t before = std::exchange(load_ns_, counters.load_ns);
  return {.micro_batches = &batch.micro_batches,
          .epoch = batch.global.epoch,
          .position = batch.global.position,
          .global_count = batch.global.count,
          .wait_seconds = wait_seconds,
          .load_seconds = follows ? static_cast<double>(counters.load_ns - before) * 1e-9 : 0.0,
          .ready = counters.ready};
}

/// What every rank holds the same must be the same to the bit.
void Loop::check_replicas() {
  if (!due(context_.config.guard.replicas_every_steps)) return;
  const telemetry::PhaseScope phase(context_.recorder, telemetry::Phase::other);
  context_.parts.data_parallel->settle();
  const core::ParameterSet parameters = context_.parts.model->parameters();
  if (core::fault::at("replicas.flip") == core::fault::Action::nan) parameters.front().tensor.detach().flatten()[0].neg_();
  try {
    parallel::require_equal_replicas(all_, parameters, state_.step, replicas_equal_at_);
  } catch (const Error&) {
    context_.debugging.tell(state_.step);  // all ranks are here
    throw;
  }
  replicas_equal_at_ = state_.step;
}

/// Not in the driver, which takes a core and does not come back from a device that hangs.
void Loop::wait_for(const PublishedStep& step) const {
  const auto check_ranks = [&] {
    if (const auto poisoned = context_.parts.ranks->poisoned()) throw *poisoned;
  };
  while (!step.arrived.reached()) {
    check_ranks();
    std::this_thread::sleep_for(device_look_every);
  }
  check_ranks();
}

void Loop::decide_all() {
  while (!pending_.empty()) decide_oldest();
}

void Loop::judge_nonfinite(const PublishedStep& step, const Agreed& agreed, const std::string& where) {
  try {
    (void)nonfinite_.judge(step.step, std::max(agreed.first_nonfinite_rank, 0));
  } catch (const Error& e) {
    // All ranks are here: the run ends, what was found of its cause and the checkpoint that is being written shall not be lost with it.
    context_.debugging.tell(step.step);
    while (const auto result = context_.checkpoints.finish()) note_save(*result, /*must_succeed=*/false);
    throw Error(e.kind(), e.message() + "\n  " + where, e.hint());
  }
}

/// The samples are recomputed from the position, so any rank can name those of another.
std::string Loop::describe_nonfinite(const PublishedStep& step, const Agreed& agreed) const {
  if (agreed.first_nonfinite_rank < 0)
    return fmt::format("step {}: the loss is finite on all ranks, the gradient is not", step.step);
  std::vector<int64_t> samples;
  for (int64_t m = 0; m < loader_.micro_steps(); ++m) {
    const data::SampleRun run =
        data::micro_run(step.global.count, m, agreed.first_nonfinite_rank, all_.size(), context_.layout.batch_size);
    const size_t before = samples.size();
    samples.resize(before + static_cast<size_t>(run.count));
    context_.sampler.ids(step.global, run, samples.data() + before);
  }
  constexpr size_t shown = 16;
  const std::string more = samples.size() > shown ? ", ..." : "";
  samples.resize(std::min(samples.size(), shown));
  return fmt::format("step {}: the loss of rank {} is not finite; its samples are {}{}", step.step, agreed.first_nonfinite_rank,
                     fmt::join(samples, ", "), more);
}

TrainStep::Votes Loop::votes() {
  TrainStep::Votes mine{.stop = context_.signals.received() != 0, .save = false, .saving = context_.checkpoints.working()};
  if (all_.rank() != 0) return mine;
  const auto now = std::chrono::steady_clock::now();
  const std::optional<double>& minutes = context_.config.checkpoint.every_minutes;
  mine.save = minutes && now - last_save_time_ >= std::chrono::duration<double, std::ratio<60>>(*minutes);
  mine.debug = context_.debugging.vote();
  if (now - looked_for_requests_ < requests_every) return mine;
  looked_for_requests_ = now;
  require_lock();
  const guard::Requests files = guard::take_control_files(context_.control);
  mine.stop = mine.stop || files.stop;
  mine.save = mine.save || files.save;
  context_.debugging.look();
  return mine;
}

/// What belongs to another job by now must not be touched, exit.json included.
void Loop::require_lock() {
  if (context_.lock == nullptr || !context_.lock->lost()) return;
  context_.status.folder_is_ours = false;
  throw Error(ErrorKind::environment, "another job has taken over the run folder " + context_.config.run.dir,
              "this process slept for longer than a lock lasts; the other job goes on");
}

void Loop::evaluate() {
  decide_all();
  parallel::DataParallel& data_parallel = *context_.parts.data_parallel;
  std::optional<optim::WeightAverage::Scope> averaged;
  if (context_.parts.average && context_.config.ema.evaluate) {
    before_update();  // what a save has not copied yet must not change
    data_parallel.settle();
    averaged.emplace(*context_.parts.average);
    data_parallel.parameters_changed();
  }
  const int64_t began = telemetry::now_ns();
  Evaluation::Here here;
  const report::EvalMetrics result = [&] {
    const telemetry::SectionScope scope(context_.recorder.section("evaluation", telemetry::Category::model_inference),
                                        telemetry::SectionScope::Memory::tracked);
    return evaluation_->run(*context_.parts.model, context_.parts.precision, context_.parts.device, state_.step,
                            context_.debugging.active() ? &here : nullptr);
  }();
  const double seconds = static_cast<double>(telemetry::now_ns() - began) * 1e-9;
  if (averaged) {
    data_parallel.settle();
    averaged.reset();
    data_parallel.parameters_changed();
  }
  last_evaluated_ = state_.step;
  const guard::EarlyStopping::Decision decision =
      context_.early_stopping.observe(state_.step, metric_of(result, context_.config.eval.metric));
  context_.monitor.evaluated(result, decision, seconds);
  if (context_.debugging.active()) show_evaluation(result, here, seconds, decision);
  early_stop_ = early_stop_ || decision.stop;
  save_due_ = save_due_ || among_the_best();
}

void Loop::show_evaluation(const report::EvalMetrics& result, Evaluation::Here& here, double seconds,
                           const guard::EarlyStopping::Decision& decision) {
  debug::Debugger& tools = context_.debugging.tools();
  tools.evaluated({.step = state_.step,
                   .loss = result.loss,
                   .samples = result.samples,
                   .samples_here = static_cast<int64_t>(here.samples.size()),
                   .batches_here = here.batches,
                   .ids_here = std::move(here.samples),
                   .dataset = context_.data.eval->size(),
                   .seconds = seconds});
  const guard::EarlyStopping& stopping = context_.early_stopping;
  const auto& best = stopping.best();
  tools.stopping({.step = state_.step,
                  .metric = context_.config.eval.metric,
                  .value = stopping.history().back().value,
                  .best = best ? best->value : std::numeric_limits<double>::quiet_NaN(),
                  .best_step = best ? best->step : -1,
                  .waited = stopping.waited(),
                  .patience = context_.config.eval.patience.value_or(-1),
                  .improved = decision.improved,
                  .stop = decision.stop});
}

/// Begins a save; if there is no room for another one, what is under way is waited for.
void Loop::save() {
  decide_all();
  save_due_ = false;
  last_save_time_ = std::chrono::steady_clock::now();
  if (last_saved_ == state_.step) return;
  require_lock();
  const telemetry::PhaseScope phase(context_.recorder, telemetry::Phase::checkpoint);
  while (!context_.checkpoints.has_room())
    if (const auto result = context_.checkpoints.finish()) note_save(*result, /*must_succeed=*/false);
  begin_save();
  if (context_.config.checkpoint.async) return;
  while (const auto result = context_.checkpoints.finish()) note_save(*result, /*must_succeed=*/false);
}

void Loop::begin_save() {
  last_saved_ = save_stage_began_ = state_.step;
  try {
    context_.checkpoints.begin(state_.step, scores());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;
    note_save({.step = state_.step, .error = error, .committed = {}, .seconds = 0}, /*must_succeed=*/false);
  }
}

/// The state as it is now is on disk when this returns.
void Loop::save_to_the_end() {
  const int64_t began = telemetry::now_ns();
  save_outside_of_steps();
  context_.monitor.saving_took(static_cast<double>(telemetry::now_ns() - began) * 1e-9);
}

void Loop::save_outside_of_steps() {
  require_lock();
  while (const auto before = context_.checkpoints.finish()) note_save(*before, /*must_succeed=*/false);
  if (last_saved_ == state_.step && !last_save_failed_) return;
  decide_all();
  context_.checkpoints.begin(state_.step, scores());
  last_saved_ = state_.step;
  if (const auto result = context_.checkpoints.finish()) note_save(*result, /*must_succeed=*/true);
}

void Loop::note_save(const checkpoint::Saver::Result& result, bool must_succeed) {
  last_save_failed_ = result.error.has_value();
  context_.monitor.saved(result);
  if (result.error && (must_succeed || context_.config.checkpoint.on_failure == "stop")) throw *result.error;
}

void Loop::before_update() {
  if (!context_.checkpoints.under_way()) return;
  const telemetry::PhaseScope phase(context_.recorder, telemetry::Phase::checkpoint);
  context_.checkpoints.wait_copied();
}

std::vector<checkpoint::Retention::Score> Loop::scores() const {
  std::vector<checkpoint::Retention::Score> scores;
  for (const auto& evaluation : context_.early_stopping.history())
    scores.push_back({evaluation.step, lower_is_better(evaluation.value)});
  return scores;
}

/// Whether the last evaluation belongs to the best that checkpoint.keep_best keeps.
bool Loop::among_the_best() const {
  const auto& history = context_.early_stopping.history();
  const double last = lower_is_better(history.back().value);
  if (!std::isfinite(last)) return false;
  const auto better = std::ranges::count_if(history, [&](const auto& one) { return lower_is_better(one.value) < last; });
  return better < context_.config.checkpoint.keep_best;
}

double Loop::lower_is_better(double metric) const { return context_.config.eval.mode == "max" ? -metric : metric; }

bool Loop::due(const std::optional<int64_t>& every_steps) const { return every_steps && state_.step % *every_steps == 0; }

double Loop::learning_rate() const {
  const RunConfig& config = context_.config;
  std::vector<double> evaluations;  // lower is better for the schedule, whatever the metric is
  for (const auto& evaluation : context_.early_stopping.history())
    evaluations.push_back(lower_is_better(evaluation.value));
  return optim::learning_rate(config.schedule, config.optim.lr, state_.step, context_.total_steps, evaluations);
}

}  // namespace trireme::trainer

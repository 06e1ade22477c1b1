#include "trainer/trainer.h"

#include <cstdlib>
#include <deque>

#include <fmt/format.h>

#include <ATen/ATen.h>

#include <trireme/autograd/backward.h>
#include <trireme/core/fault.h>
#include <trireme/core/log.h>
#include <trireme/device/cores.h>
#include <trireme/device/select.h>
#include <trireme/device/tune.h>
#include <trireme/guard/early_stopping.h>
#include <trireme/guard/policy.h>
#include <trireme/guard/run_lock.h>
#include <trireme/guard/stop_requests.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/run_paths.h>
#include <trireme/telemetry/memory.h>

#include "trainer/agreement.h"
#include "trainer/batch_layout.h"
#include "trainer/build.h"
#include "trainer/control.h"
#include "trainer/evaluation.h"
#include "trainer/monitor.h"
#include "trainer/checkpoints.h"
#include "trainer/run_state.h"
#include "trainer/step.h"

namespace trireme::trainer {
namespace {

/// How many steps pass before the host looks at what a step published; it never waits for the device.
constexpr size_t decision_lag_steps = 2;

data::LoaderSettings loader_settings(const RunConfig& config, const comm::World& world, const BatchLayout& layout) {
  data::LoaderSettings settings;
  settings.rank = world.rank();
  settings.ranks = world.size();
  settings.batch_size = layout.batch_size;
  settings.workers = config.data.workers;
  return settings;
}

data::Sampler::Settings sampler_settings(const RunConfig& config, const data::Dataset& samples, int64_t global_batch) {
  return {.samples = samples.size(),
          .global_batch = global_batch,
          .seed = static_cast<uint64_t>(config.run.seed),
          .shuffle = config.data.shuffle,
          .last_batch = config.data.last_batch_policy()};
}

/// The loop of one rank: everything it needs is built, the state is loaded.
class Loop {
 public:
  Loop(const RunConfig& config, comm::World& world, Parts& parts, const DataParts& data, const BatchLayout& layout,
       RunState& state, guard::EarlyStopping& early_stopping, telemetry::Recorder& recorder, Monitor& monitor,
       Checkpoints& checkpoints, RunStatus& status, std::filesystem::path control)
      : config_(config), all_(*world.all()), parts_(parts), state_(state), early_stopping_(early_stopping), recorder_(recorder),
        monitor_(monitor), checkpoints_(checkpoints), status_(status), control_(std::move(control)),
        sampler_(sampler_settings(config, *data.train, layout.global_batch)),
        loader_(data.train, sampler_, data::TransformChain(config.data.transforms, /*training=*/true),
                loader_settings(config, world, layout), state.position),
        step_({*parts.model, *parts.reducer, *parts.optimizer, *parts.scaler, parts.precision, parts.device.type(), all_, recorder},
              parts.model->nominal_weight_per_sample() * static_cast<double>(layout.global_batch), config.train.max_grad_norm),
        nonfinite_(config.guard), total_steps_(total_steps(config.train.steps, config.train.epochs, sampler_.steps_per_epoch())) {
    if (!early_stopping_.history().empty()) last_evaluated_ = early_stopping_.history().back().step;
    early_stop_ = config.eval.patience && early_stopping_.waited() > *config.eval.patience;
    if (checkpoints_.resumed()) last_saved_ = state_.step;
    if (data.eval)
      evaluation_.emplace(data.eval, data::TransformChain(config.data.transforms, /*training=*/false),
                          Evaluation::Settings{.batch_size = config.eval.batch_size.value_or(layout.batch_size),
                                               .workers = config.data.workers}, all_);
  }

  int run() {
    monitor_.begin(state_.step, total_steps_, sampler_);
    while (state_.step < total_steps_ && !stop_ && !early_stop_) {
      train_one_step();
      const bool last = state_.step == total_steps_;
      if (evaluation_ && config_.eval.every_steps && state_.step % *config_.eval.every_steps == 0 && !last) evaluate();
      if (config_.checkpoint.every_steps && state_.step % *config_.checkpoint.every_steps == 0 && !last) save();
    }
    decide_all();
    if (stop_) {
      save();
      return static_cast<int>(ErrorKind::stopped);
    }
    if (evaluation_ && config_.eval.at_end && last_evaluated_ != state_.step) evaluate();
    save();
    return 0;
  }

 private:
  void train_one_step() {
    core::fault::set_step(state_.step);
    recorder_.begin_step(state_.step);
    (void)core::fault::at("step.begin");
    const double lr = optim::learning_rate(config_.schedule, config_.optim.lr, state_.step, total_steps_, plateau_history());
    std::optional<data::LoadedBatch> batch;
    {
      const telemetry::PhaseScope phase(recorder_, telemetry::Phase::data);
      batch = loader_.next();
      check(batch.has_value(), "the training loader does not end");
    }
    PublishedStep published = step_.run(batch->micro_batches, lr, votes());
    state_.step += 1;
    state_.position = batch->global.position_after;
    state_.tokens += batch->global.count * parts_.model->tokens_per_sample();
    status_.step = state_.step;
    published.step = state_.step;
    published.position = batch->global.position;
    published.epoch = batch->global.epoch;
    published.samples = batch->global.count;
    monitor_.warn_unused(step_.unused_parameters());
    pending_.push_back(std::move(published));
    for (const core::Batch& micro : batch->micro_batches) recorder_.count(telemetry::Counter::samples, micro.size());
    recorder_.end_step();
    if (pending_.size() > decision_lag_steps) decide_oldest();
  }

  /// The host reads a step that lies two steps back; every rank reads the same numbers and decides the same.
  void decide_oldest() {
    const PublishedStep step = std::move(pending_.front());
    pending_.pop_front();
    const Agreed agreed = read_control(step.control.cpu(), all_.size());
    const bool skipped = step.nonfinite.item<float>() != 0;
    state_.skipped += skipped ? 1 : 0;
    if (skipped) {
      const std::string where = describe_nonfinite(step, agreed);
      monitor_.skipped(step.step, where);
      // A dynamic loss scale finds its level by overflowing: that is no fault of the model.
      if (!(parts_.precision.loss_scale == precision::LossScale::dynamic && agreed.first_nonfinite_rank < 0)) judge_nonfinite(step, agreed, where);
    } else {
      (void)nonfinite_.judge(step.step, -1);
    }
    stop_ = stop_ || agreed.stop;
    monitor_.step(step, agreed, state_);
    if (agreed.save) save_requested_ = true;
    if (save_requested_ && pending_.empty()) save();
  }

  void decide_all() {
    while (!pending_.empty()) decide_oldest();
  }

  void judge_nonfinite(const PublishedStep& step, const Agreed& agreed, const std::string& where) {
    try {
      (void)nonfinite_.judge(step.step, std::max(agreed.first_nonfinite_rank, 0));
    } catch (const Error& e) {
      throw Error(e.kind(), e.message() + "\n  " + where, e.hint());
    }
  }

  /// The samples are recomputed from the position, so any rank can name those of another.
  std::string describe_nonfinite(const PublishedStep& step, const Agreed& agreed) const {
    if (agreed.first_nonfinite_rank < 0)
      return fmt::format("step {}: the loss is finite on all ranks, the gradient is not", step.step);
    const data::GlobalBatch global = sampler_.next(step.position);
    std::vector<int64_t> samples;
    for (int64_t m = 0; m < loader_.micro_steps(); ++m) {
      const data::SampleRun run =
          data::micro_run(global.count, m, agreed.first_nonfinite_rank, all_.size(), config_.train.batch_size);
      const size_t before = samples.size();
      samples.resize(before + static_cast<size_t>(run.count));
      sampler_.ids(global, run, samples.data() + before);
    }
    constexpr size_t shown = 16;
    std::string list;
    for (size_t i = 0; i < samples.size() && i < shown; ++i) list += (i == 0 ? "" : ", ") + std::to_string(samples[i]);
    if (samples.size() > shown) list += ", ...";
    return fmt::format("step {}: the loss of rank {} is not finite; its samples are {}", step.step, agreed.first_nonfinite_rank, list);
  }

  TrainStep::Votes votes() {
    TrainStep::Votes mine;
    if (signals_.received() != 0) mine.stop = true;
    if (all_.rank() == 0) {
      const guard::Requests files = guard::take_control_files(control_);
      mine.stop = mine.stop || files.stop;
      mine.save = files.save;
    }
    return mine;
  }

  void evaluate() {
    decide_all();
    const report::EvalMetrics result = evaluation_->run(*parts_.model, parts_.precision, parts_.device.type(), state_.step);
    last_evaluated_ = state_.step;
    const guard::EarlyStopping::Decision decision = early_stopping_.observe(state_.step, metric_of(result, config_.eval.metric));
    monitor_.evaluated(result, decision);
    early_stop_ = early_stop_ || decision.stop;
  }

  /// Lower is better for the schedule, whatever the metric is.
  std::vector<double> plateau_history() const {
    std::vector<double> values;
    for (const auto& evaluation : early_stopping_.history())
      values.push_back(config_.eval.mode == "max" ? -evaluation.value : evaluation.value);
    return values;
  }

  void save() {
    decide_all();
    save_requested_ = false;
    if (last_saved_ == state_.step) return;
    const telemetry::PhaseScope phase(recorder_, telemetry::Phase::checkpoint);
    checkpoints_.save(state_.step);
    monitor_.saved(state_.step);
    last_saved_ = state_.step;
  }

  const RunConfig& config_;
  comm::Communicator& all_;
  Parts& parts_;
  RunState& state_;
  guard::EarlyStopping& early_stopping_;
  telemetry::Recorder& recorder_;
  Monitor& monitor_;
  Checkpoints& checkpoints_;
  RunStatus& status_;
  std::filesystem::path control_;
  guard::StopSignals signals_;
  data::Sampler sampler_;
  data::Loader loader_;
  TrainStep step_;
  std::optional<Evaluation> evaluation_;
  guard::NonfinitePolicy nonfinite_;
  int64_t total_steps_;
  std::deque<PublishedStep> pending_;
  bool stop_ = false;
  bool early_stop_ = false;
  bool save_requested_ = false;
  int64_t last_evaluated_ = -1;
  int64_t last_saved_ = -1;
};

/// The cores that a rank may keep busy, from the affinity masks of all ranks of its host.
int threads_of_rank(comm::World& world) {
  const std::vector<std::string> masks = world.all()->all_gather_bytes(device::format_cores(device::affinity_cores()));
  const comm::RankInfo& mine = world.ranks()[static_cast<size_t>(world.rank())];
  std::vector<std::vector<int>> local;
  for (size_t r = 0; r < masks.size(); ++r)
    if (world.ranks()[r].host == mine.host) local.push_back(device::parse_cores(masks[r]));
  return device::choose_threads(device::fair_threads(device::affinity_cores(), local), std::getenv("OMP_NUM_THREADS"));
}

/// Rank 0 takes the lock and makes the folder; its Error is every rank's.
std::unique_ptr<guard::RunLock> take_folder(const report::RunPaths& paths, comm::World& world, RunStatus& status) {
  std::unique_ptr<guard::RunLock> lock;
  on_rank_0(*world.all(), [&] {
    report::make_run_folder(paths);
    lock = std::make_unique<guard::RunLock>(paths.root);
    return std::string();
  });
  status.folder_is_ours = true;
  return lock;
}

/// The folder was made for one identity (model, data, seed, optimizer, ...); going on with another would mix two runs.
void require_same_identity(const std::string& stored, const config::Resolved& resolved) {
  const std::vector<config::Difference> differences = config::identity_differences(stored, config::identity_json(resolved));
  if (differences.empty()) return;
  std::string message = "the checkpoint was made with another configuration:";
  for (const config::Difference& d : differences) message += fmt::format("\n  {}: {} there, {} now", d.path, d.old_value, d.new_value);
  throw Error(ErrorKind::configuration, message, "choose another run.dir, or set run.resume=never to begin anew in this one");
}

void log_free_changes(Monitor& monitor, const std::string& stored, const config::Resolved& resolved, int64_t step) {
  for (const config::Difference& d : config::free_differences(stored, config::full_json(resolved)))
    monitor.event("changed", step, {{"key", d.path}, {"old", d.old_value}, {"new", d.new_value}});
}

}  // namespace

int run_training(const config::Loaded<RunConfig>& loaded, comm::World& world, RunStatus& status) {
  const RunConfig& config = loaded.value;
  const comm::CommunicatorPtr all = world.all();
  all->set_deadline(std::chrono::seconds(config.guard.hang_seconds));
  require_equal(*all, "configurations", config::canonical_text(loaded.resolved),
                "start all ranks with the same file and overrides");
  const at::Device device = device::select(config.device);
  const device::Tuning tuning = device::tune_process(threads_of_rank(world));
  telemetry::install_counting_allocator();
  autograd::install_engine();

  const report::RunPaths paths{config.run.dir};
  const std::unique_ptr<guard::RunLock> lock = take_folder(paths, world, status);
  log::configure({.rank = world.rank(), .console = true, .file = paths.log(world.rank()).string()});
  log::info("rank {} of {} on {}, pid {}, {}, {} thread{}", world.rank(), world.size(),
            world.ranks()[static_cast<size_t>(world.rank())].host, world.ranks()[static_cast<size_t>(world.rank())].pid,
            world.launch().launcher, tuning.threads, tuning.threads == 1 ? "" : "s");

  const DataParts data = open_data(config);
  require_equal(*all, "data", fmt::format("train = {}\neval = {}", data.train->fingerprint(), data.eval ? data.eval->fingerprint() : "none"),
                "every rank must see the same files: put them on a shared file system, or copy them to all hosts");

  // The state: what a checkpoint restores, in the order of saving.
  Checkpoints checkpoints(all, paths.checkpoints(), config.checkpoint.keep_last);
  checkpoints.find(config.run.resume);
  if (checkpoints.resumed()) require_same_identity(checkpoints.stored_identity(), loaded.resolved);
  BatchLayout layout = lay_out_batch(config.train.batch_size, world.size(), config.train.accumulate, config.train.global_batch);
  if (checkpoints.resumed() && !config.train.global_batch)
    layout = lay_out_batch(config.train.batch_size, world.size(), std::nullopt, checkpoints.reader().integer("run/global_batch"));
  if (!layout.even())
    log::info("a global batch of {} does not divide over {} ranks of {}: the last of {} micro-steps is short", layout.global_batch,
              layout.ranks, layout.batch_size, layout.micro_steps);
  Parts parts = build_parts(config, all, *data.train, device);
  RunState state(parts.parameters, parts.buffers);
  guard::EarlyStopping early_stopping(
      config.eval.mode == "max" ? guard::EarlyStopping::Mode::max : guard::EarlyStopping::Mode::min, config.eval.patience);
  for (core::Stateful* component : std::initializer_list<core::Stateful*>{&state, parts.optimizer.get(), parts.scaler.get(), &early_stopping})
    checkpoints.add(*component);
  if (checkpoints.resumed()) checkpoints.restore();
  if (checkpoints.resumed() && state.global_batch != layout.global_batch)
    throw Error(ErrorKind::configuration,
                fmt::format("the checkpoint was made with a global batch of {}, now it is {}", state.global_batch, layout.global_batch),
                fmt::format("set train.global_batch={}, or choose another run.dir", state.global_batch));
  state.global_batch = layout.global_batch;

  std::unique_ptr<report::RunFolder> folder;
  const int64_t attempt = std::stoll(on_rank_0(*all, [&] {
    folder = std::make_unique<report::RunFolder>(paths, config::to_yaml(loaded.resolved),
                                                 checkpoints.resumed() ? std::optional(state.step) : std::nullopt,
                                                 report::hosts_of(world.ranks()));
    return std::to_string(folder->attempt());
  }));
  telemetry::Recorder recorder;
  Monitor monitor({.log_every = config.telemetry.log_every, .tokens_per_sample = parts.model->tokens_per_sample()}, world, recorder,
                  std::move(folder));
  monitor.event(checkpoints.resumed() ? "resumed" : "started", state.step, {{"ranks", static_cast<int64_t>(world.size())}});
  if (checkpoints.resumed()) log_free_changes(monitor, checkpoints.stored_configuration(), loaded.resolved, state.step);
  checkpoints.label(config::identity_json(loaded.resolved), config::full_json(loaded.resolved), attempt);

  Loop loop(config, world, parts, data, layout, state, early_stopping, recorder, monitor, checkpoints, status, paths.control());
  const int code = loop.run();
  monitor.event(code == 0 ? "finished" : "preempted", state.step);
  monitor.finish(state.step);
  on_rank_0(*all, [&] {
    report::ExitRecord record;
    record.code = code;
    record.kind = code == 0 ? "done" : std::string(core::name_of(ErrorKind::stopped));
    record.host = world.ranks()[0].host;
    record.step = state.step;
    record.message = code == 0 ? "all steps are done" : "stopped on request, the state is saved";
    record.hint = code == 0 ? "" : "start the same command again to go on";
    record.resumable = code != 0;
    report::write_exit_record(paths.root, record);
    return std::string();
  });
  return code;
}

}  // namespace trireme::trainer

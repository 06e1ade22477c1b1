#include "trainer/trainer.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/core/log.h>
#include <trireme/device/backend.h>
#include <trireme/guard/early_stopping.h>
#include <trireme/guard/run_lock.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/run_paths.h>
#include <trireme/telemetry/memory.h>

#include "model/registry.h"
#include "trainer/agreement.h"
#include "trainer/compute.h"
#include "trainer/debugging.h"
#include "trainer/loop.h"
#include "trainer/state_forecast.h"
#include "trainer/unit_statistics.h"

namespace trireme::trainer {
namespace {

/// Rank 0 takes the lock and makes the folder; its Error is every rank's.
void take_folder(const report::RunPaths& paths, comm::World& world, RunStatus& status) {
  on_rank_0(*world.all(), [&] {
    report::make_run_folder(paths);
    status.lock = std::make_unique<guard::RunLock>(paths.root);
    std::filesystem::remove(paths.exit());  // of the attempt before: it must not speak for this one
    return std::string();
  });
  status.folder_is_ours = true;
}

/// An identity (config::identity_json) in which precision.compute says what it means on this device. Of a checkpoint that does
/// not, `identity` says auto, which is taken to mean the same.
std::string with_type(const std::string& identity, at::ScalarType compute) {
  constexpr const char* key = "precision.compute";
  nlohmann::json json = nlohmann::json::parse(identity, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value(key, "") != "auto") return identity;
  json[key] = compute == at::kFloat ? "fp32" : compute == at::kHalf ? "fp16" : "bf16";
  return json.dump();
}

/// The folder was made for one identity (model, data, seed, optimizer, ...); going on with another would mix two runs.
void require_same_identity(const std::string& stored, const std::string& mine) {
  const std::vector<config::Difference> differences = config::identity_differences(stored, mine);
  if (differences.empty()) return;
  std::string message = "the checkpoint was made with another configuration:";
  for (const config::Difference& d : differences) message += fmt::format("\n  {}: {} there, {} now", d.path, d.old_value, d.new_value);
  throw Error(ErrorKind::configuration, message, "choose another run.dir, or set run.resume=never to begin anew in this one");
}

/// The position of a run means nothing on other samples.
void require_same_data(const std::string& stored, const std::string& fingerprint) {
  if (stored == fingerprint) return;
  throw Error(ErrorKind::configuration, "the training data is not what the checkpoint was made with (its fingerprint differs)",
              "bring the data back as it was, or choose another run.dir");
}

void log_free_changes(Monitor& monitor, const std::string& stored, const config::Resolved& resolved, int64_t step) {
  for (const config::Difference& d : config::free_differences(stored, config::full_json(resolved)))
    monitor.event("changed", step, {{"key", d.path}, {"old", d.old_value}, {"new", d.new_value}});
}

/// What advice at the end of the run goes by.
report::Circumstances circumstances(const RunConfig& config, const BatchLayout& layout, at::Device device) {
  report::Circumstances known;
  known.data_workers = config.data.workers;
  known.strategy = config.parallel.strategy;
  known.reduce_type = config.precision.reduce;
  known.accumulate = layout.micro_steps;
  known.checkpoint_async = config.checkpoint.async;
  known.checkpoint_staged = config.checkpoint.staging_dir.has_value();
  if (const auto* mib = std::get_if<double>(&config.parallel.bucket_mib)) known.bucket_bytes = *mib * (1 << 20);
  if (const device::Backend* const backend = device::backend_of(device.type()))
    known.memory_capacity =
        static_cast<double>(backend->devices().at(static_cast<size_t>(device.index())).memory_bytes) * config.device.memory_fraction;
  if (config.device.memory_limit_mib) known.memory_capacity = static_cast<double>(*config.device.memory_limit_mib) * (1 << 20);
  return known;
}

/// What debug switches look at.
debug::Subject subject_of(const RunConfig& config, comm::World& world, Parts& parts) {
  debug::Subject subject;
  subject.rank = world.rank();
  subject.ranks = world.size();
  subject.device = parts.device;
  subject.units = parts.model->units();
  subject.parameters = parts.parameters;
  subject.buffers = parts.buffers;
  subject.facts = {{"schedule", config.schedule.name},
                   {"optimizer", config.optim.name},
                   {"strategy", config.parallel.strategy},
                   {"loss_scale", parts.precision.loss_scale == precision::LossScale::dynamic ? "dynamic" : "fixed"},
                   {"compute", std::string(c10::toString(parts.precision.compute))},
                   {"workers", std::to_string(config.data.workers)}};
  return subject;
}

int train(const config::Loaded<RunConfig>& loaded, comm::World& world, const guard::StopSignals& signals, RunStatus& status) {
  const RunConfig& config = loaded.value;
  const comm::CommunicatorPtr all = world.all();
  all->set_deadline(std::chrono::seconds(config.guard.hang_seconds));
  require_equal(*all, "configurations", config::canonical_text(loaded.resolved),
                "start all ranks with the same file and overrides");
  const Compute compute = prepare_compute(config, world);
  const at::Device device = compute.device;
  debug::check_start(config.debug, world.size(), config.run.profile == "production");
  const at::ScalarType compute_type = resolve_precision(config, device).compute;
  const std::string identity = with_type(config::identity_json(loaded.resolved), compute_type);
  // Wishes that cannot be met are refused before anything is written.
  const Execution execution = plan_execution(config, device.type(), model::create_model(config.model)->repeatable());

  const report::RunPaths paths{config.run.dir};
  take_folder(paths, world, status);
  log::configure({.rank = world.rank(), .console = true, .file = paths.log(world.rank()).string()});
  log::info("rank {} of {} on {}, pid {}, {}, {}, {} thread{}", world.rank(), world.size(),
            world.ranks()[static_cast<size_t>(world.rank())].host, world.ranks()[static_cast<size_t>(world.rank())].pid,
            world.launch().launcher, describe(device), compute.threads, compute.threads == 1 ? "" : "s");

  const DataParts data = open_data(config);
  require_equal(*all, "data", fmt::format("train = {}\neval = {}", data.train->fingerprint(), data.eval ? data.eval->fingerprint() : "none"),
                "every rank must see the same files: put them on a shared file system, or copy them to all hosts");

  telemetry::Recorder recorder({.steps = static_cast<size_t>(std::max<int64_t>(1024, config.telemetry.log_every + 16)),
                                .device = device.is_cpu() ? std::nullopt : std::optional(device)});
  recorder.spans().name_this_thread("main");

  // The state: what a checkpoint restores, in the order of saving.
  const comm::CommunicatorPtr for_storage = all->split(0, all->rank(), "storage");
  for_storage->set_deadline(std::chrono::seconds(config.guard.storage_seconds));
  Checkpoints checkpoints(for_storage, paths.checkpoints(),
                          {.last = config.checkpoint.keep_last,
                           .best = config.checkpoint.keep_best,
                           .scores = {},
                           .every_steps = config.checkpoint.keep_every_steps},
                          config.checkpoint.read_back, config.checkpoint.staging_dir, recorder);
  checkpoints.find(config.run.resume);
  if (checkpoints.resumed()) {
    require_same_identity(with_type(checkpoints.stored_identity(), compute_type), identity);
    require_same_data(checkpoints.stored_data(), data.train->fingerprint());
  }
  BatchLayout layout = lay_out_batch(config.train.batch_size, world.size(), config.train.accumulate, config.train.global_batch);
  if (checkpoints.resumed() && !config.train.global_batch)
    layout = lay_out_batch(config.train.batch_size, world.size(), std::nullopt, checkpoints.reader().integer("run/global_batch"));
  if (!layout.even())
    log::info("a global batch of {} does not divide over {} ranks of {}: the last of {} micro-steps is short", layout.global_batch,
              layout.ranks, layout.batch_size, layout.micro_steps);
  const data::Sampler sampler({.samples = data.train->size(),
                               .global_batch = layout.global_batch,
                               .seed = static_cast<uint64_t>(config.run.seed),
                               .shuffle = config.data.shuffle,
                               .last_batch = config.data.last_batch_policy()});
  const int64_t steps = total_steps(config.train.steps, config.train.epochs, sampler.steps_per_epoch());
  const StateForecast forecast(config, world);
  if (world.rank() == 0) log::info("state of a rank with parallel.strategy: {}: {}", config.parallel.strategy, forecast.text());
  Parts parts = build_parts(config, world, *data.train, device,
                            checkpoints.resumed() ? Weights::from_checkpoint : Weights::as_configured, recorder);
  if (data.eval) parts.model->check_data(data.eval->properties());
  RunState state(parts.parameters, parts.buffers);
  guard::EarlyStopping early_stopping(
      config.eval.mode == "max" ? guard::EarlyStopping::Mode::max : guard::EarlyStopping::Mode::min, config.eval.patience);
  for (core::Stateful* component : std::initializer_list<core::Stateful*>{&state, parts.optimizer.get(), parts.scaler.get(), &early_stopping})
    checkpoints.add(*component);
  if (parts.average) checkpoints.add(*parts.average);
  if (checkpoints.resumed()) {
    const telemetry::SectionScope scope(recorder.section("restore", telemetry::Category::checkpointing),
                                        telemetry::SectionScope::Memory::tracked);
    checkpoints.restore();
    parts.data_parallel->parameters_changed();
  }
  if (checkpoints.resumed() && state.global_batch != layout.global_batch)
    throw Error(ErrorKind::configuration,
                fmt::format("the checkpoint was made with a global batch of {}, now it is {}", state.global_batch, layout.global_batch),
                fmt::format("set train.global_batch={}, or choose another run.dir", state.global_batch));
  state.global_batch = layout.global_batch;

  std::unique_ptr<report::RunFolder> folder;
  const int64_t attempt = std::stoll(on_rank_0(*all, [&] {
    std::optional<report::RunFolder::Resumed> resumed;
    if (checkpoints.resumed())
      resumed = {.step = state.step, .evaluated = early_stopping.history().empty() ? -1 : early_stopping.history().back().step};
    folder = std::make_unique<report::RunFolder>(paths, config::to_yaml(loaded.resolved), resumed, report::hosts_of(world.ranks()));
    return std::to_string(folder->attempt());
  }));
  Measurements measurements(config, parts, forecast);
  Monitor monitor({.telemetry = config.telemetry,
                   .run = config.run.dir,
                   .paths = paths,
                   .attempt = attempt,
                   .resumed_step = checkpoints.resumed() ? std::optional(state.step) : std::nullopt,
                   .tokens_per_sample = parts.tokens_per_sample,
                   .known = circumstances(config, layout, device)},
                  world, recorder, measurements, std::move(folder));
  monitor.event(checkpoints.resumed() ? "resumed" : "started", state.step,
                {{"ranks", static_cast<int64_t>(world.size())}, {"steps", steps}});
  if (checkpoints.resumed()) log_free_changes(monitor, checkpoints.stored_configuration(), loaded.resolved, state.step);
  checkpoints.forecast();
  checkpoints.label(identity, config::full_json(loaded.resolved), data.train->fingerprint(), attempt);

  const std::unique_ptr<StepGraphs> graphs = make_graphs(execution, device, config.run.deterministic, world);
  UnitStatistics unit_statistics(*parts.model, device, recorder);
  Profiler profiler({.profile = config.telemetry.profile,
                     .trace = config.telemetry.trace,
                     .paths = paths,
                     .attempt = attempt,
                     .on_event = [&monitor](const report::Event& event) { monitor.event(event.name, event.step, event.details); }},
                    world, recorder, device);
  Debugging debugging(config, subject_of(config, world, parts), world, monitor, profiler);
  Loop loop({config, world, parts, data, layout, graphs.get(), sampler, steps, state, early_stopping, recorder, unit_statistics, monitor,
             profiler, debugging, checkpoints, status, signals, status.lock.get(), paths.control()});
  const std::vector<comm::TrafficRow> traffic_before = comm::traffic_of(*parts.ranks);
  const int code = loop.run();
  debugging.finish(state.step);
  profiler.finish_all(state.step);
  monitor.event(code == 0 ? "finished" : "preempted", state.step);
  monitor.finish(state.step, unit_statistics.rows(forecast), comm::traffic_since(traffic_before, comm::traffic_of(*parts.ranks)), code == 0);
  on_rank_0(*all, [&] {
    report::ExitRecord record;
    record.code = code;
    record.kind = code == 0 ? "done" : std::string(core::name_of(ErrorKind::stopped));
    record.host = world.ranks()[0].host;
    record.step = state.step;
    record.message = code == 0 ? "all steps are done" : "stopped on request, the state is saved";
    if (code != 0)
      record.hint = config.run.resume == "auto" ? "start the same command again to go on" : "go on with run.resume=auto";
    record.resumable = code != 0;
    report::write_exit_record(paths.root, record);
    return std::string();
  });
  return code;
}

}  // namespace

int run_training(const config::Loaded<RunConfig>& loaded, comm::World& world, const guard::StopSignals& signals,
                 RunStatus& status) {
  try {
    return train(loaded, world, signals, status);
  } catch (const telemetry::OutOfMemory& error) {
    throw StateForecast(loaded.value, world).explain(error);
  } catch (const c10::OutOfMemoryError& error) {  // of a device
    const std::string what = error.what_without_backtrace();
    throw StateForecast(loaded.value, world).explain(telemetry::OutOfMemory(what.substr(0, what.find('\n'))));
  }
}

}  // namespace trireme::trainer

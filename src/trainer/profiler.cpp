#include "trainer/profiler.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include <trireme/comm/clock.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/core/wall_clock.h>
#include <trireme/device/backend.h>
#include <trireme/device/device_memory.h>
#include <trireme/device/mark.h>
#include <trireme/report/hta.h>
#include <trireme/report/operator_table.h>
#include <trireme/report/rank_reducer.h>
#include <trireme/report/trace.h>
#include <trireme/storage/durable.h>
#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/profile_schedule.h>

#include "trainer/profile_files.h"

namespace trireme::trainer {
namespace {

using telemetry::ProfileAction;
using MemoryHistory = device::Backend::MemoryHistory;

constexpr std::chrono::milliseconds device_look_every{1};
/// A recording that a switch holds open for hours keeps no more spans than this; operations have a bound of their own.
constexpr size_t most_spans = 1'000'000;

/// What an action of this rank alone complains of; empty if it went well.
template <class Action>
std::string complaint_of(Action action) {
  try {
    action();
    return "";
  } catch (const Error& error) {
    return error.message();
  } catch (const std::exception& error) {
    const std::string what = error.what();
    return what.empty() ? "an exception without words" : what.substr(0, what.find('\n'));
  }
}

std::unique_ptr<telemetry::OperatorTracer> make_tracer(const telemetry::ProfileConfig& config, at::Device device) {
  const telemetry::OperatorTracer::Settings settings{.shapes = config.shapes,
                                                     .flops = config.flops,
                                                     .memory = config.memory,
                                                     .stacks = config.stacks,
                                                     .max_events = config.max_events};
  const bool kineto = config.operators == "kineto" || (config.operators == "auto" && device.is_cuda());
  return kineto ? telemetry::make_kineto_tracer(settings, device) : telemetry::make_callback_tracer(settings);
}

}  // namespace

struct Profiler::Recording {
  Wish wish;
  int64_t first_step = 0, last_step = 0;
  report::TracePart part;
  std::string operators;   // packed, where operations were recorded
  std::string complaint;   // of this rank, so far; told to the others at the end
  int64_t spans_dropped_before = 0;
  bool records_memory_history = false;
};

Profiler::Profiler(Settings settings, comm::World& world, telemetry::Recorder& recorder, at::Device device)
    : settings_(std::move(settings)), world_(world), recorder_(recorder), device_(device), schedule_off_(settings_.trace == "off") {}

Profiler::~Profiler() = default;

void Profiler::begin_step(int64_t step) {
  const ProfileAction action =
      schedule_off_ || switched_on() ? ProfileAction::none : telemetry::profile_action(settings_.profile, steps_seen_);
  ++steps_seen_;
  warming_up_ = action == ProfileAction::warmup && settings_.trace == "full";
  save_after_step_ = action == ProfileAction::record_and_save;
  if (warming_up_) prepare();
  const bool due = action == ProfileAction::record || action == ProfileAction::record_and_save || switched_on();
  if (due && recording_ == nullptr) begin(step, wish());
  if (recording_ == nullptr) return;
  recording_->last_step = step;
  if (tracer_ != nullptr && tracer_->running()) tracer_->begin_step(step);
  note([&] {
    recording_->part.step_times.emplace_back(step, telemetry::now_ns());
    sample_memory();
  });
}

void Profiler::end_step(int64_t completed) {
  if (recording_ == nullptr) return;
  note([&] {
    sample_memory();
    report::TracePart& part = recording_->part;
    for (telemetry::SpanRecord& span : recorder_.spans().drain()) {
      if (part.spans.size() < most_spans) part.spans.push_back(std::move(span));
      else ++part.dropped;
    }
  });
  if (tracer_ != nullptr && tracer_->running() && tracer_->full()) {
    wait_for_device();
    note([this] { tracer_->rest(); });
  }
  if (save_after_step_ && !switched_on()) cut(completed);
}

void Profiler::start(debug::Switch which, bool here, int64_t completed) {
  cut(completed);
  state(which) = {.on = true, .here = here, .since_step = completed};
}

void Profiler::finish(debug::Switch which, int64_t completed) {
  if (!state(which).on) return;
  cut(completed);
  state(which) = {};
}

void Profiler::finish_all(int64_t completed) {
  cut(completed);
  operators_ = tensorboard_ = {};
  schedule_off_ = true;
}

bool Profiler::needs_eager_steps() const {
  return switched_on() || warming_up_ || (recording_ != nullptr && recording_->wish.operators);
}

Profiler::SwitchState& Profiler::state(debug::Switch which) {
  check(debug::is_profiler(which), "the other switches have tools");
  return which == debug::Switch::autograd_profiler ? operators_ : tensorboard_;
}

Profiler::Wish Profiler::wish() const {
  if (!switched_on()) {
    const bool full = settings_.trace == "full";
    return {.operators = full, .here = full};
  }
  return {.operators = true,
          .here = operators_.here || tensorboard_.here,
          .tensorboard_here = tensorboard_.here};
}

telemetry::OperatorTracer& Profiler::tracer() {
  if (tracer_ == nullptr) tracer_ = make_tracer(settings_.profile, device_);
  return *tracer_;
}

/// Does what only this rank does. It must not leave the step by an exception: the others do not know of it until the ranks agree.
template <class Action>
void Profiler::note(Action action) {
  std::string complaint = complaint_of(action);
  if (recording_->complaint.empty()) recording_->complaint = std::move(complaint);
}

/// What goes wrong here goes wrong again at the start, where the ranks agree.
void Profiler::prepare() {
  static_cast<void>(complaint_of([this] { tracer().prepare(); }));
}

void Profiler::begin(int64_t step, const Wish& wish) {
  recording_ = std::make_unique<Recording>();  // so little that it does not fail
  recording_->wish = wish;
  recording_->first_step = step;
  report::TracePart& part = recording_->part;
  const comm::RankInfo& here = world_.ranks()[static_cast<size_t>(world_.rank())];
  part.host = here.host;
  part.pid = here.pid;
  part.clock_at_begin = comm::align_clocks(*world_.all());
  const std::string mine = complaint_of([&] {
    static_cast<void>(recorder_.spans().drain());
    recording_->spans_dropped_before = recorder_.spans().dropped();
    if (!wish.operators || !wish.here) return;
    tracer().start();
    if (device::Backend* const backend = device::backend_of(device_.type()); backend != nullptr && settings_.profile.memory) {
      backend->record_memory_history(settings_.profile.stacks ? MemoryHistory::stacks : MemoryHistory::sizes);
      recording_->records_memory_history = true;
    }
  });
  if (const std::string all = complaints(mine); !all.empty()) return give_up(all, mine, step);
}

/// Stops what records on this rank and completes its part of the trace.
void Profiler::collect() {
  note([this] {
    report::TracePart& part = recording_->part;
    const bool recorded = tracer_ != nullptr && tracer_->running();
    if (recorded) part.operators = tracer_->stop();
    part.steps = recorder_.recent(part.step_times.size());
    std::erase_if(part.steps, [this](const telemetry::StepRecord& one) { return one.step < recording_->first_step; });
    part.thread_names = recorder_.spans().thread_names();
    part.operator_thread = recorder_.spans().this_thread();
    part.dropped += recorder_.spans().dropped() - recording_->spans_dropped_before;
    if (recorded) {
      std::vector<telemetry::SpanRecord> spans = part.spans;
      std::erase_if(spans, [&](const telemetry::SpanRecord& span) { return span.thread != part.operator_thread; });
      const report::OperatorTable table = report::operator_table(part.operators, spans, !device_.is_cpu());
      recording_->operators = report::packed_operators(&table, part.operators.dropped);
    }
    if (recording_->records_memory_history) save_memory_snapshot();
  });
}

void Profiler::save_memory_snapshot() {
  const ProfileFiles files(settings_.paths);
  device::Backend* const backend = device::backend_of(device_.type());
  storage::make_directories(files.folder());
  const std::string stem = ProfileFiles::stem(world_.ranks()[static_cast<size_t>(world_.rank())], wall_clock_ns() / 1'000'000);
  static_cast<void>(backend->save_memory_snapshot((files.folder() / fmt::format("{}{}", stem, ProfileFiles::memory_suffix)).string()));
  backend->record_memory_history(MemoryHistory::off);
  recording_->records_memory_history = false;
}

/// Each rank for itself: the file for TensorBoard, where it is wanted.
void Profiler::write_for_tensorboard(const report::TraceSummary& merged) const {
  if (!recording_->wish.tensorboard_here) return;
  const ProfileFiles files(settings_.paths);
  storage::make_directories(files.folder());
  const std::string name = ProfileFiles::stem(world_.ranks()[static_cast<size_t>(world_.rank())], wall_clock_ns() / 1'000'000);
  report::write_rank_trace(recording_->part, world_.rank(), world_.size(), merged, files.folder() / fmt::format("{}{}", name, ProfileFiles::trace_suffix));
}

/// Rank 0, of what all ranks brought to it.
void Profiler::write_operators(const std::vector<std::string>& ranks) const {
  const ProfileFiles files(settings_.paths);
  report::OperatorReport operators = report::merged_operators(ranks).value_or(report::OperatorReport());
  operators.first_step = recording_->first_step + 1;
  operators.last_step = recording_->last_step + 1;
  const std::string text = report::operators_json(operators, report::hosts_of(world_.ranks()), settings_.attempt);
  storage::replace_file(files.operators(), text);
  if (operators.ranks == 0) return;
  log::info("operations of steps {} to {}, means of {} rank{}:\n{}", operators.first_step, operators.last_step, operators.ranks,
            operators.ranks == 1 ? "" : "s", report::operators_text(operators));
}

/// Ends the recording under way, if there is one, and writes it.
void Profiler::cut(int64_t completed) {
  if (recording_ == nullptr) return;
  wait_for_device();
  // Each stretch that a rank does alone ends in complaints(), or in write_trace(), which tells all ranks of what any of them could
  // not do. What else is thrown here comes from the communicator, and a rank cannot know what the others know of that.
  const ProfileFiles files(settings_.paths);
  comm::Communicator& all = *world_.all();
  collect();
  report::TracePart& part = recording_->part;
  part.clock_at_end = comm::align_clocks(all);
  if (all.rank() == 0 && recording_->complaint.empty()) note([&] { files.make_room(settings_.keep); });
  if (const std::string complaint = complaints(recording_->complaint); !complaint.empty())
    return give_up(complaint, recording_->complaint, completed);

  report::TraceSummary summary;
  try {
    summary = report::write_trace(all, part, files.trace());
  } catch (const report::TraceFailure& failure) {
    return give_up(failure.message(), all.rank() == 0 ? failure.message() : "", completed);  // on all ranks
  }
  note([&] { write_for_tensorboard(summary); });
  const std::vector<std::string> operators = all.gather_bytes(recording_->operators, 0);
  if (all.rank() == 0)
    note([&] { write_operators(operators); });
  if (const std::string complaint = complaints(recording_->complaint); !complaint.empty())
    return give_up(complaint, recording_->complaint, completed);
  if (all.rank() == 0) drop_surplus();  // all ranks have written theirs

  const int64_t first = recording_->first_step + 1, last = recording_->last_step + 1;
  recording_.reset();
  if (settings_.on_event)
    settings_.on_event({"profiled",
                        completed,
                        {{"first_step", first},
                         {"last_step", last},
                         {"file", files.trace().filename().string()},
                         {"events", summary.events},
                         {"bytes", summary.file_bytes},
                         {"dropped", summary.dropped}}});
}

void Profiler::drop_surplus() const try {
  ProfileFiles(settings_.paths).drop_surplus(settings_.keep_files, world_.size());
} catch (const std::filesystem::filesystem_error& error) {
  log::warning("old files of profiles could not be removed: {}", error.what());
}

void Profiler::sample_memory() {
  const int64_t now = telemetry::now_ns();
  if (device_.is_cpu()) {
    const telemetry::MemoryMark mark = telemetry::mark_tensors();
    recording_->part.memory.push_back({.at_ns = now, .allocated = mark.allocated, .reserved = mark.reserved});
  } else {
    const device::DeviceMemory memory = device::device_memory(device_);
    recording_->part.memory.push_back({.at_ns = now, .allocated = memory.allocated, .reserved = memory.reserved});
  }
}

/// Not in the driver, which does not come back from a device that hangs.
void Profiler::wait_for_device() const {
  const device::Mark mark = device::Mark::now(device_);
  while (!mark.reached()) {
    if (const auto reason = world_.all()->poisoned()) throw *reason;
    std::this_thread::sleep_for(device_look_every);
  }
}

std::string Profiler::complaints(const std::string& mine) {
  std::string text;
  const std::vector<std::string> ranks = world_.all()->all_gather_bytes(mine);
  for (size_t r = 0; r < ranks.size(); ++r)
    if (!ranks[r].empty() && text.empty()) text = fmt::format("rank {}: {}", r, ranks[r]);
  const auto others = std::ranges::count_if(ranks, [](const std::string& one) { return !one.empty(); }) - 1;
  if (others > 0) text += fmt::format(" (and {} more rank{})", others, others == 1 ? "" : "s");
  return text;
}

/// `mine`: what this rank complains of.
void Profiler::give_up(const std::string& why, std::string mine, int64_t completed) {
  static_cast<void>(complaint_of([this] {
    if (tracer_ != nullptr && tracer_->running()) static_cast<void>(tracer_->stop());
  }));
  static_cast<void>(complaint_of([this] {
    if (recording_->records_memory_history) device::backend_of(device_.type())->record_memory_history(MemoryHistory::off);
  }));
  recording_.reset();
  tracer_.reset();
  // Who switched it on says so on the console.
  if (world_.rank() == 0 && !switched_on()) log::warning("the profile is given up, the run goes on: {}", why);
  for (const debug::Switch which : {debug::Switch::autograd_profiler, debug::Switch::tensorboard_profiler})
    if (const SwitchState& one = state(which); one.on)
      given_up_.push_back({which, one.since_step, mine.empty() ? "" : fmt::format("{}; all ranks give the recording up", mine)});
  operators_ = tensorboard_ = {};
  schedule_off_ = true;
  warming_up_ = save_after_step_ = false;
  if (settings_.on_event) settings_.on_event({"profile_failed", completed, {{"why", why}}});
}

}  // namespace trireme::trainer

#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/device/device_memory.h>
#include <trireme/telemetry/recorder.h>

#include "telemetry/device_timeline.h"

#include <algorithm>
#include <utility>

namespace trireme::telemetry {
namespace {

const void* this_thread_token() {
  thread_local char token;
  return &token;
}

/// Reading it costs two microseconds, as much as the rest of a step's record.
constexpr int64_t resident_read_every_ns = 10'000'000;

/// The host is never more steps ahead of the device.
constexpr size_t timelines = 16;

double seconds(int64_t ns) {
  return static_cast<double>(ns) * 1e-9;
}

}  // namespace

Recorder::Recorder() : Recorder(Settings{}) {}

Recorder::Recorder(const Settings& settings)
    : ring_(settings.steps),
      device_(settings.device),
      ranges_(device_ ? device::backend_of(device_->type()) : nullptr),
      spans_(settings.spans_per_thread) {
  check(settings.steps > 0, "a recorder keeps at least one step");
  if (!device_) return;
  for (size_t i = 0; i < timelines; ++i) timelines_.push_back(std::make_unique<DeviceTimeline>());
  timeline_ = std::make_unique<DeviceTimeline>();
}

Recorder::~Recorder() = default;

void Recorder::mark(Phase phase) {
  if (timeline_ && marks_) timeline_->mark(*device_, phase);
}

/// Fills in what the device has passed.
void Recorder::read_timelines() {
  while (steps_timed_ < steps_kept_) {
    DeviceTimeline& timeline = *timelines_[steps_timed_ % timelines_.size()];
    const bool overwritten = steps_kept_ - steps_timed_ > timelines_.size();
    if (!overwritten && !timeline.complete()) return;
    StepRecord& record = ring_[steps_timed_ % ring_.size()];
    if (!overwritten) {
      const DeviceTimeline::Times times = timeline.times();
      record.seconds = times.seconds;
      record.phases = times.phases;
    }
    ++steps_timed_;
  }
}

bool Recorder::in_step_here() const {
  return owner_.load(std::memory_order_relaxed) == this_thread_token();
}

Recorder::Counts Recorder::counts() const {
  Counts result{};
  for (size_t i = 0; i < counter_count; ++i)
    result[i] = counters_[i].load(std::memory_order_relaxed);
  return result;
}

void Recorder::begin_step(int64_t step) {
  step_.store(step, std::memory_order_relaxed);
  ++steps_begun_;
  if (!enabled()) {
    owner_.store(nullptr, std::memory_order_relaxed);
    return;
  }
  owner_.store(this_thread_token(), std::memory_order_relaxed);
  phase_ns_.fill(0);
  stack_[0] = Phase::other;
  depth_ = 1;
  counts_at_begin_ = counts();
  if (device_) {
    const device::DeviceMemory there = device::device_memory(*device_);
    allocated_at_begin_ = there.allocated;
    device_peak_ = std::max(device_peak_, there.peak);
    device::reset_peak(*device_);
  } else {
    step_memory_.reset();  // of a step that was left by an exception
    allocated_at_begin_ = allocated_bytes();
    step_memory_.emplace();
  }
  begin_ns_ = mark_ns_ = now_ns();
  if (timeline_) timeline_->clear();
  mark(Phase::other);
}

StepRecord Recorder::end_step() {
  StepRecord record;
  record.step = step();
  if (!in_step_here()) return record;
  const int64_t now = now_ns();
  phase_ns_[static_cast<size_t>(stack_[depth_ - 1])] += now - mark_ns_;
  owner_.store(nullptr, std::memory_order_relaxed);

  const Counts total = counts();
  const auto since_begin = [&](Counter counter) {
    const auto i = static_cast<size_t>(counter);
    return total[i] - counts_at_begin_[i];
  };
  record.seconds = seconds(now - begin_ns_);
  std::transform(phase_ns_.begin(), phase_ns_.end(), record.phases.begin(), seconds);
  record.comm_busy_seconds = seconds(since_begin(Counter::comm_busy_ns));
  record.comm_bytes = since_begin(Counter::comm_bytes);
  record.comm_calls = since_begin(Counter::comm_calls);
  record.samples = since_begin(Counter::samples);
  record.tokens = since_begin(Counter::tokens);
  record.skipped = since_begin(Counter::skipped_steps);
  if (steps_kept_ == 0 || now - resident_read_ns_ >= resident_read_every_ns) {
    resident_bytes_ = resident_bytes();
    resident_read_ns_ = now;
  }
  record.allocated_at_begin = allocated_at_begin_;
  if (step_memory_) record.step_peak = allocated_at_begin_ + step_memory_->peak();
  step_memory_.reset();
  record.memory = mark_tensors();
  if (device_) {
    const device::DeviceMemory there = device::device_memory(*device_);
    record.step_peak = there.peak;
    device_peak_ = std::max(device_peak_, there.peak);
    record.memory = {.allocated = there.allocated, .reserved = there.reserved, .peak = device_peak_};
    record.seconds = 0;
    record.phases.fill(0);
    mark(Phase::other);
    read_timelines();
    std::swap(timelines_[steps_kept_ % timelines_.size()], timeline_);
  }
  record.memory.rss = resident_bytes_;
  ring_[steps_kept_++ % ring_.size()] = record;
  return record;
}

std::vector<StepRecord> Recorder::recent(size_t count) {
  if (device_) read_timelines();
  const uint64_t end = device_ ? steps_timed_ : steps_kept_;
  const uint64_t oldest = steps_kept_ - std::min<uint64_t>(steps_kept_, ring_.size());
  std::vector<StepRecord> records;
  for (uint64_t i = std::max(oldest, end - std::min<uint64_t>(count, end)); i < end; ++i)
    records.push_back(ring_[i % ring_.size()]);
  return records;
}

bool Recorder::enter(Phase phase, int64_t now) {
  if (depth_ == max_depth) return false;
  phase_ns_[static_cast<size_t>(stack_[depth_ - 1])] += now - mark_ns_;
  mark_ns_ = now;
  stack_[depth_++] = phase;
  mark(phase);
  return true;
}

void Recorder::leave(int64_t now) {
  phase_ns_[static_cast<size_t>(stack_[--depth_])] += now - mark_ns_;
  mark_ns_ = now;
  mark(stack_[depth_ - 1]);
}

void begin_range(Recorder& recorder, const char* name) {
  recorder.ranges()->begin_range(name);
}

void end_range(Recorder& recorder) {
  recorder.ranges()->end_range();
}

PhaseScope::PhaseScope(Recorder& recorder, Phase phase) : phase_(phase) {
  if (!recorder.in_step_here()) return;
  start_ns_ = now_ns();
  if (!recorder.enter(phase, start_ns_)) return;
  recorder_ = &recorder;
  step_ = recorder.steps_begun_;
  if (recorder.ranges() != nullptr) begin_range(recorder, name_of(phase).data());
}

PhaseScope::~PhaseScope() {
  if (recorder_ != nullptr && recorder_->ranges() != nullptr) end_range(*recorder_);
  // A scope that outlived its step has nothing to take back.
  if (recorder_ == nullptr || !recorder_->in_step_here() || step_ != recorder_->steps_begun_)
    return;
  const int64_t now = now_ns();
  recorder_->leave(now);
  recorder_->spans().write(name_of(phase_).data(), category_of(phase_), start_ns_, now - start_ns_,
                           recorder_->step());
}

}  // namespace trireme::telemetry

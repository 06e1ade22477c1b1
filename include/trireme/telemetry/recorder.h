#pragma once

#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/phase.h>
#include <trireme/telemetry/section.h>
#include <trireme/telemetry/span_log.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <vector>

#include <c10/core/Device.h>

namespace trireme::device {
class Backend;
}

namespace trireme::telemetry {

class DeviceTimeline;

enum class Counter : uint8_t {
  samples,
  tokens,
  comm_busy_ns,
  comm_bytes,
  comm_calls,
  skipped_steps
};
constexpr size_t counter_count = 6;

/// One step of this rank.
struct StepRecord {
  int64_t step = -1;
  double seconds = 0;
  std::array<double, phase_count> phases{};  ///< seconds; they add up to `seconds`
  double comm_busy_seconds = 0;              ///< the transfers themselves, overlapped or not
  int64_t comm_bytes = 0;
  int64_t comm_calls = 0;
  int64_t samples = 0;
  int64_t tokens = 0;
  int64_t skipped = 0;
  MemoryMark memory;  ///< at the end of the step; `rss` may be 10 ms old
  int64_t allocated_at_begin = 0;
  int64_t step_peak = 0;  ///< the most that was allocated during this step
};
static_assert(std::is_trivially_copyable_v<StepRecord>);

/// What this rank does, always on: phases of steps, spans, counters, memory. Nothing here allocates
/// or formats after construction, save one ring at a thread's first span. Passed, never global; a
/// disabled recorder costs a branch.
///
/// On a device the host runs ahead, so steps and phases are measured by marks in the device's stream:
/// phases are what the device did (or waited for) since the host entered them, and a record is there
/// once the device has passed it.
class Recorder {
 public:
  struct Settings {
    size_t steps = 1024;  ///< recent steps that are kept
    size_t spans_per_thread = 4096;
    std::optional<c10::Device> device = {};  ///< that computes; nothing: the CPU
  };
  Recorder();
  explicit Recorder(const Settings& settings);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /// Phases follow with the next step, spans at once.
  void set_enabled(bool on) { enabled_.store(on, std::memory_order_relaxed); }
  [[nodiscard]] bool enabled() const { return enabled_.load(std::memory_order_relaxed); }

  /// The step runs on the calling thread until end_step(). A step that was left by an exception is
  /// forgotten.
  void begin_step(int64_t step);
  /// Keeps the record among the recent ones and returns it; if disabled it holds nothing but the
  /// step, on a device no times yet.
  StepRecord end_step();

  /// The last `count` records at most, oldest first, without those that the device has not passed.
  /// On the thread of the steps.
  [[nodiscard]] std::vector<StepRecord> recent(size_t count);

  /// While it lives the step's thread leaves no marks in the device's stream, which is being
  /// recorded: phases inside belong to the one outside.
  class Unmarked {
   public:
    explicit Unmarked(Recorder& recorder) : recorder_(recorder), outer_(recorder.marks_) {
      recorder.marks_ = false;
    }
    ~Unmarked() { recorder_.marks_ = outer_; }
    Unmarked(const Unmarked&) = delete;
    Unmarked& operator=(const Unmarked&) = delete;

   private:
    Recorder& recorder_;
    bool outer_;
  };

  /// Any thread. Counts keep running while the recorder is disabled: throughput and skips are
  /// needed anyway.
  void count(Counter counter, int64_t amount) {
    counters_[static_cast<size_t>(counter)].fetch_add(amount, std::memory_order_relaxed);
  }
  [[nodiscard]] int64_t total(Counter counter) const {
    return counters_[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
  }

  /// What shows phases and spans to the device's own profiler as ranges; null where nothing does.
  [[nodiscard]] device::Backend* ranges() const { return ranges_; }

  /// The section of this name, which lives as long as the recorder: ask once, at set-up.
  [[nodiscard]] Section& section(std::string_view name, Category category = Category::user) {
    return sections_.open(*this, name, category);
  }
  [[nodiscard]] const Sections& sections() const { return sections_; }
  [[nodiscard]] const std::optional<c10::Device>& device() const { return device_; }

  [[nodiscard]] SpanLog& spans() { return spans_; }
  [[nodiscard]] int64_t step() const { return step_.load(std::memory_order_relaxed); }

 private:
  friend class PhaseScope;
  using Counts = std::array<int64_t, counter_count>;
  static constexpr size_t max_depth = 16;

  /// Changes the current phase and returns true, or false where phases are not recorded: off,
  /// outside a step, on another thread, nested too deep.
  bool enter(Phase phase, int64_t now);
  void leave(int64_t now);
  [[nodiscard]] Counts counts() const;
  [[nodiscard]] bool in_step_here() const;
  void mark(Phase phase);
  void read_timelines();

  std::atomic<bool> enabled_{true};
  std::atomic<const void*> owner_{nullptr};  // token of the thread that is in a step
  std::atomic<int64_t> step_{-1};
  std::array<std::atomic<int64_t>, counter_count> counters_{};

  // Of the step's thread alone.
  std::array<Phase, max_depth> stack_{};
  size_t depth_ = 0;
  uint64_t steps_begun_ = 0;
  int64_t begin_ns_ = 0;
  int64_t mark_ns_ = 0;
  std::array<int64_t, phase_count> phase_ns_{};
  Counts counts_at_begin_{};
  std::optional<MemoryScope> step_memory_;  // on the CPU
  int64_t allocated_at_begin_ = 0;
  int64_t device_peak_ = 0;  // of all steps
  int64_t resident_bytes_ = 0;
  int64_t resident_read_ns_ = 0;

  std::vector<StepRecord> ring_;
  uint64_t steps_kept_ = 0;

  const std::optional<c10::Device> device_;
  device::Backend* const ranges_;
  bool marks_ = true;
  std::vector<std::unique_ptr<DeviceTimeline>> timelines_;  // of the last steps, by step modulo their number
  std::unique_ptr<DeviceTimeline> timeline_;                // of the step under way
  uint64_t steps_timed_ = 0;                                // of those kept
  SpanLog spans_;
  Sections sections_;
};

/// The time of its life belongs to `phase`, less the scopes inside it. Use on the step's thread;
/// elsewhere it records nothing. Also leaves a span.
class PhaseScope {
 public:
  PhaseScope(Recorder& recorder, Phase phase);
  ~PhaseScope();
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  Recorder* recorder_ = nullptr;  // null: nothing is recorded
  Phase phase_;
  uint64_t step_ = 0;
  int64_t start_ns_ = 0;
};

/// Around phases and spans on devices, whose profilers show them.
void begin_range(Recorder& recorder, const char* name);
void end_range(Recorder& recorder);

/// A named stretch of time on any thread, for traces. `name` must outlive the recorder (a string
/// literal).
class Span {
 public:
  Span(Recorder& recorder, const char* name, Category category = Category::user)
      : recorder_(recorder.enabled() ? &recorder : nullptr),
        name_(name),
        start_ns_(recorder_ != nullptr ? now_ns() : 0),
        category_(category) {
    if (recorder_ != nullptr && recorder_->ranges() != nullptr) begin_range(*recorder_, name);
  }
  ~Span() {
    if (recorder_ == nullptr) return;
    recorder_->spans().write(name_, category_, start_ns_, now_ns() - start_ns_, recorder_->step());
    if (recorder_->ranges() != nullptr) end_range(*recorder_);
  }
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Recorder* recorder_;
  const char* name_;
  int64_t start_ns_;
  Category category_;
};

}  // namespace trireme::telemetry

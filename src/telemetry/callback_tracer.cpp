#include <trireme/core/error.h>
#include <trireme/telemetry/flops.h>
#include <trireme/telemetry/operator_tracer.h>

#include "telemetry/backtrace.h"
#include "telemetry/clock_conversion.h"
#include "telemetry/operator_claim.h"
#include "telemetry/operator_inputs.h"
#include "telemetry/operator_log.h"
#include "telemetry/operator_strings.h"

#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>

namespace trireme::telemetry {
namespace {

struct Ticks {
  c10::approx_time_t operator()() const { return c10::getApproximateTime(); }
};

/// Where the calling thread's log is; asked for twice an event. In the memory that a thread has
/// from its start, for then it is found without a call.
struct OwnLog {
  uint64_t recording = 0;
  OperatorLog* log = nullptr;
};
[[gnu::tls_model("initial-exec")]] thread_local OwnLog own_log;

/// The logs of one recording, by thread.
class Recording {
 public:
  explicit Recording(const OperatorTracer::Settings& settings)
      : number_(next_number.fetch_add(1)), settings_(settings), budget_(settings.max_events) {
    (void)log_of_this_thread();  // number 0
  }

  OperatorLog& log_of_this_thread() {
    OwnLog& mine = own_log;
    if (mine.recording != number_) {
      const std::lock_guard lock(guard_);
      const auto place = places_.try_emplace(std::this_thread::get_id(), logs_.size());
      if (place.second) logs_.push_back(std::make_unique<OperatorLog>(settings_, budget_));
      mine = {number_, logs_[place.first->second].get()};
    }
    return *mine.log;
  }

  [[nodiscard]] OperatorTrace trace() const;

 private:
  static std::atomic<uint64_t> next_number;
  const uint64_t number_;
  const ClockReading<Ticks> begin_ = ClockReading<Ticks>::now();
  const OperatorTracer::Settings settings_;
  EventBudget budget_;
  std::mutex guard_;
  std::vector<std::unique_ptr<OperatorLog>> logs_;  // by number of the thread
  std::unordered_map<std::thread::id, size_t> places_;
};
std::atomic<uint64_t> Recording::next_number{1};

std::atomic<Recording*> recording{nullptr};

// What throws in a callback would be logged by LibTorch at every event: only memory can be lacking.
std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& function) {
  if (Recording* const active = recording.load(std::memory_order_acquire))
    active->log_of_this_thread().open(function);
  return nullptr;
}
void on_end(const at::RecordFunction& function, at::ObserverContext*) {
  if (Recording* const active = recording.load(std::memory_order_acquire))
    active->log_of_this_thread().close(function);
}

/// Turns the entries of logs into events.
class Converter {
 public:
  Converter(const OperatorTracer::Settings& settings, const ClockReading<Ticks>& begin,
            OperatorTrace& trace)
      : settings_(settings),
        end_(ClockReading<Ticks>::now()),
        clock_(begin, end_),
        trace_(trace),
        strings_(trace) {}

  void add(const OperatorLog& log, int32_t thread) {
    std::vector<uint32_t> names;
    for (uint32_t i = 0; i < log.names().size(); ++i)
      names.push_back(strings_.place(log.names()[i]));
    for (const OperatorLog::Entry* entry : log.entries())
      add(*entry, log.names()[entry->name], names[entry->name], thread);
    trace_.dropped += log.dropped();
  }

 private:
  void add(const OperatorLog::Entry& entry, const std::string& name, uint32_t place,
           int32_t thread) {
    OperatorEvent event;
    event.name = place;
    event.kind = entry.scope == at::RecordScope::USER_SCOPE ? OperatorEvent::Kind::annotation
                                                            : OperatorEvent::Kind::operation;
    event.thread = thread;
    event.start_ns = clock_.ours(entry.start);
    const bool open = entry.end == 0;  // ranges around this moment
    event.duration_ns = clock_.ours(open ? end_.theirs : entry.end) - event.start_ns;
    if (!open) event.bytes = entry.bytes;
    if (entry.inputs != nullptr && *entry.inputs > 0 && settings_.shapes)
      event.shapes = strings_.place(InputCode::shapes(entry.inputs));
    if (entry.inputs != nullptr && settings_.flops)
      event.flops = flops_of(name, InputCode::inputs(entry.inputs));
    if (entry.stack != nullptr)
      event.stack =
          strings_.place(symbols_.text({entry.stack + 1, static_cast<size_t>(*entry.stack)}));
    trace_.events.push_back(event);
  }

  const OperatorTracer::Settings& settings_;
  const ClockReading<Ticks> end_;
  const ClockConversion<Ticks> clock_;
  OperatorTrace& trace_;
  OperatorStrings strings_;
  Symbols symbols_;
};

OperatorTrace Recording::trace() const {
  OperatorTrace trace;
  Converter converter(settings_, begin_, trace);
  for (size_t i = 0; i < logs_.size(); ++i) converter.add(*logs_[i], static_cast<int32_t>(i));
  return trace;
}

class CallbackTracer final : public OperatorTracer {
 public:
  explicit CallbackTracer(const Settings& settings) : settings_(settings) {}
  ~CallbackTracer() override { end(); }

  void prepare() override {
    std::array<int64_t, 4> frames{};
    if (settings_.stacks)
      (void)capture_backtrace(frames.data(), frames.size(), 0);  // loads the unwinder
  }

  void start() override {
    claim_.emplace();
    try {
      prepare();
      forget_steps();
      recording_ = std::make_unique<Recording>(settings_);
      recording.store(recording_.get(), std::memory_order_release);
      // Autograd hands a thread's callbacks on to the threads that run its backward.
      handle_ = at::addThreadLocalCallback(
          at::RecordFunctionCallback(on_start, on_end)
              .needsInputs(settings_.shapes || settings_.flops)
              .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION,
                       at::RecordScope::USER_SCOPE}));
    } catch (...) {
      end();
      throw;
    }
  }

  [[nodiscard]] OperatorTrace stop() override {
    check(running(), "what is stopped was started");
    remove();
    OperatorTrace trace = recording_->trace();
    end();
    finish(trace);
    return trace;
  }

  [[nodiscard]] bool running() const override { return recording_ != nullptr; }

 private:
  void remove() {
    if (handle_ != at::INVALID_CALLBACK_HANDLE) at::removeCallback(handle_);
    handle_ = at::INVALID_CALLBACK_HANDLE;
    recording.store(nullptr, std::memory_order_release);
  }
  void end() {
    if (!claim_) return;
    remove();
    recording_.reset();
    claim_.reset();
  }

  const Settings settings_;
  std::optional<OperatorClaim> claim_;
  std::unique_ptr<Recording> recording_;
  at::CallbackHandle handle_ = at::INVALID_CALLBACK_HANDLE;
};

}  // namespace

std::unique_ptr<OperatorTracer> make_callback_tracer(const OperatorTracer::Settings& settings) {
  return std::make_unique<CallbackTracer>(settings);
}

}  // namespace trireme::telemetry

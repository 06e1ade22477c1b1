#include <trireme/core/error.h>
#include <trireme/core/wall_clock.h>
#include <trireme/telemetry/flops.h>
#include <trireme/telemetry/operator_tracer.h>

#include "telemetry/clock_conversion.h"
#include "telemetry/operator_claim.h"
#include "telemetry/operator_inputs.h"
#include "telemetry/operator_strings.h"

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_set>
#include <utility>

#include <torch/csrc/autograd/profiler_kineto.h>

#include <fmt/core.h>
#include <kineto/ActivityType.h>

namespace trireme::telemetry {
namespace {

namespace kineto = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;
using Kind = OperatorEvent::Kind;

/// Kineto's clock is that of the day, which may be slewed while we record.
struct TimeOfDay {
  int64_t operator()() const { return wall_clock_ns(); }
};
using Reading = ClockReading<TimeOfDay>;
using Clock = ClockConversion<TimeOfDay>;

/// Nothing for what is no event of ours.
std::optional<Kind> kind_of(const kineto::KinetoEvent& event) {
  using libkineto::ActivityType;
  if (event.isHiddenEvent()) return {};
  switch (static_cast<ActivityType>(event.activityType())) {
    case ActivityType::CPU_OP:
      return Kind::operation;
    case ActivityType::USER_ANNOTATION:
    case ActivityType::GPU_USER_ANNOTATION:
      return Kind::annotation;
    case ActivityType::GPU_MEMCPY:
    case ActivityType::GPU_MEMSET:
      return Kind::copy;
    case ActivityType::CONCURRENT_KERNEL:
      return Kind::kernel;
    case ActivityType::CUDA_RUNTIME:
    case ActivityType::CUDA_DRIVER:
    case ActivityType::XPU_RUNTIME:
    case ActivityType::XPU_DRIVER:
    case ActivityType::PRIVATEUSE1_RUNTIME:
    case ActivityType::PRIVATEUSE1_DRIVER:
      return Kind::runtime;
    case ActivityType::CPU_INSTANT_EVENT:
      return Kind::memory;
    default:
      return {};
  }
}

bool on_device(Kind kind, const kineto::KinetoEvent& event) {
  return (kind == Kind::annotation || kind == Kind::copy || kind == Kind::kernel) &&
         event.deviceType() != c10::DeviceType::CPU;
}

class Converter {
 public:
  Converter(const OperatorTracer::Settings& settings, const Clock& clock, uint64_t recording_thread,
            OperatorTrace& trace)
      : settings_(settings),
        clock_(clock),
        trace_(trace),
        strings_(trace),
        threads_{{recording_thread, 0}} {}

  void add(const kineto::KinetoEvent& from) {
    const std::optional<Kind> kind = kind_of(from);
    if (!kind) return;
    if (trace_.events.size() == static_cast<size_t>(settings_.max_events)) {
      ++trace_.dropped;
      return;
    }
    OperatorEvent event;
    const std::string name = from.name();
    event.kind = *kind;
    event.name = strings_.place(name);
    event.start_ns = clock_.ours(static_cast<int64_t>(from.startNs()));
    event.duration_ns =
        *kind == Kind::memory
            ? 0
            : clock_.ours(static_cast<int64_t>(from.startNs() + from.durationNs())) -
                  event.start_ns;
    if (on_device(*kind, from)) {
      event.device = from.deviceIndex();
      event.thread = static_cast<int32_t>(from.deviceResourceId());
    } else {
      event.thread =
          threads_.try_emplace(from.startThreadId(), static_cast<int32_t>(threads_.size()))
              .first->second;
    }
    if (*kind == Kind::runtime || *kind == Kind::copy || *kind == Kind::kernel)
      event.correlation = static_cast<int64_t>(from.correlationId());
    if (*kind == Kind::memory) event.bytes = from.nBytes();
    if (*kind == Kind::operation) add_inputs(from, name, event);
    if (settings_.stacks && from.hasStack()) event.stack = strings_.place(lines(from.stack()));
    trace_.events.push_back(event);
  }

 private:
  void add_inputs(const kineto::KinetoEvent& from, const std::string& name, OperatorEvent& event) {
    if (!from.hasShapes()) return;
    if (settings_.shapes) event.shapes = strings_.place(shapes_text(from.shapes()));
    if (!settings_.flops) return;
    // Tensors are in one list, other things in the other, at their places.
    const auto shapes = from.shapes();
    const auto others =
        from.hasConcreteInputs() ? from.concreteInputs() : c10::ArrayRef<c10::IValue>();
    std::vector<int64_t> words(InputCode::max_words);
    InputCode::write(others, words.data());
    std::vector<OperatorInput> inputs = InputCode::inputs(words.data());
    inputs.resize(std::max(inputs.size(), shapes.size()));
    for (size_t i = 0; i < shapes.size(); ++i)
      if (!shapes[i].empty())
        inputs[i] = {.kind = OperatorInput::Kind::tensor, .values = shapes[i]};
    event.flops = flops_of(name, inputs);
  }

  static std::string shapes_text(c10::ArrayRef<std::vector<int64_t>> shapes) {
    std::string text = "[";
    for (const std::vector<int64_t>& sizes : shapes) {
      text += text.size() == 1 ? "[" : ", [";
      for (size_t i = 0; i < sizes.size(); ++i)
        text += fmt::format("{}{}", i == 0 ? "" : ", ", sizes[i]);
      text += "]";
    }
    return text + "]";
  }
  static std::string lines(c10::ArrayRef<std::string> stack) {
    std::string text;
    for (const std::string& frame : stack) text += (text.empty() ? "" : "\n") + frame;
    return text;
  }

  const OperatorTracer::Settings& settings_;
  const Clock& clock_;
  OperatorTrace& trace_;
  OperatorStrings strings_;
  std::map<uint64_t, int32_t> threads_;
};

/// Operations since the recorder began to count, while one does. Kineto does not say how many it
/// has.
std::atomic<int64_t> operations{0};

std::unique_ptr<at::ObserverContext> count_operation(const at::RecordFunction&) {
  operations.fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

const std::unordered_set<at::RecordScope> recorded_scopes{
    at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION, at::RecordScope::USER_SCOPE};

/// Counts while it lives: what the thread that made it runs, and autograd for it.
class OperationCount {
 public:
  OperationCount()
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(count_operation).scopes(recorded_scopes))) {
    operations.store(0, std::memory_order_relaxed);
  }
  ~OperationCount() { at::removeCallback(handle_); }
  OperationCount(const OperationCount&) = delete;
  OperationCount& operator=(const OperationCount&) = delete;

 private:
  at::CallbackHandle handle_;
};

/// Kineto tells of allocations one by one.
void give_bytes_to_operations(std::vector<OperatorEvent>& events) {
  order(events);
  const std::vector<int64_t> parents = parents_of(events);
  for (size_t i = 0; i < events.size(); ++i) {
    if (events[i].kind != Kind::memory) continue;
    for (int64_t p = parents[i]; p >= 0; p = parents[static_cast<size_t>(p)])
      events[static_cast<size_t>(p)].bytes += events[i].bytes;
  }
}

class KinetoTracer final : public OperatorTracer {
 public:
  KinetoTracer(const Settings& settings, c10::Device device)
      : settings_(settings),
        config_(torch::profiler::impl::ProfilerState::KINETO, settings.shapes || settings.flops,
                settings.memory, settings.stacks, /*with_flops=*/false),
        activities_{ActivityType::CPU} {
    if (device.type() == c10::DeviceType::CUDA) activities_.insert(ActivityType::CUDA);
    if (device.type() == c10::DeviceType::PrivateUse1)
      activities_.insert(ActivityType::PrivateUse1);
  }
  ~KinetoTracer() override {
    if (!running_ || rested_) return;
    try {
      (void)kineto::disableProfiler();
    } catch (const std::exception&) {  // nobody wants the recording any more
    }
  }

  void prepare() override {
    if (prepared_) return;
    kineto::prepareProfiler(config_, activities_);
    prepared_ = true;
  }

  void start() override {
    claim_.emplace();
    try {
      prepare();
      forget_steps();
      count_.emplace();
      kineto::enableProfiler(config_, activities_, recorded_scopes);
    } catch (const std::exception& error) {
      end();
      throw Error(ErrorKind::environment, fmt::format("Kineto does not record: {}", error.what()),
                  "record operations of the host alone with telemetry.profile.operators=callbacks");
    }
    begin_ = Reading::now();
    thread_ = at::RecordFunction::currentThreadId();
    running_ = true;
  }

  [[nodiscard]] bool full() const override {
    return running_ && !rested_ &&
           operations.load(std::memory_order_relaxed) * records_an_operation() >=
               settings_.max_events;
  }
  void rest() override {
    check(running_ && !rested_, "what rests was recording");
    rested_ = recorded();
    operations.store(0, std::memory_order_relaxed);
  }

  [[nodiscard]] OperatorTrace stop() override {
    check(running_, "what is stopped was started");
    OperatorTrace trace;
    if (rested_) {
      trace = *std::move(rested_);
      trace.dropped += operations.load(std::memory_order_relaxed);
    } else {
      trace = recorded();
    }
    end();
    finish(trace);
    return trace;
  }

  [[nodiscard]] bool running() const override { return running_; }

 private:
  /// What Kineto has, which it forgets; it does not record any more.
  OperatorTrace recorded() {
    const Clock clock(begin_, Reading::now());
    std::unique_ptr<kineto::ProfilerResult> result;
    try {
      result = kineto::disableProfiler();
    } catch (const std::exception& error) {
      end();
      throw Error(ErrorKind::environment,
                  fmt::format("Kineto lost what it recorded: {}", error.what()), "");
    }
    OperatorTrace trace;
    Converter converter(settings_, clock, thread_, trace);
    for (const kineto::KinetoEvent& event : result->events()) converter.add(event);
    if (settings_.memory) give_bytes_to_operations(trace.events);
    return trace;
  }
  /// About as many as Kineto keeps beside each operation of the host: what it allocates and frees,
  /// what it asks of the device, and what that runs.
  [[nodiscard]] int64_t records_an_operation() const {
    return 1 + (settings_.memory ? 2 : 0) + (activities_.size() > 1 ? 2 : 0);
  }
  void end() {
    running_ = prepared_ = false;
    rested_.reset();
    count_.reset();
    claim_.reset();
  }

  const Settings settings_;
  const torch::profiler::impl::ProfilerConfig config_;
  std::set<ActivityType> activities_;
  std::optional<OperatorClaim> claim_;
  std::optional<OperationCount> count_;
  std::optional<OperatorTrace> rested_;  // what was recorded until rest()
  Reading begin_;
  uint64_t thread_ = 0;
  bool prepared_ = false;
  bool running_ = false;
};

}  // namespace

std::unique_ptr<OperatorTracer> make_kineto_tracer(const OperatorTracer::Settings& settings,
                                                   c10::Device device) {
  return std::make_unique<KinetoTracer>(settings, device);
}

}  // namespace trireme::telemetry

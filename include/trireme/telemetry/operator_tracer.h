#pragma once

#include <trireme/telemetry/operator_trace.h>

#include <cstdint>
#include <memory>
#include <vector>

#include <c10/core/Device.h>

namespace trireme::telemetry {

/// Records operations: those that the thread which calls start() runs, and those that autograd runs
/// for it on other threads. All functions are called on that thread, while no backward is under
/// way. Only one records in a process at a time. Nothing is left installed after stop().
class OperatorTracer {
 public:
  struct Settings {
    bool shapes = true;
    bool flops = true;
    bool memory = true;  ///< needs the counting allocator on the CPU
    bool stacks = false;
    int64_t max_events = 1'000'000;  ///< those that come later are counted only, see full()
  };
  virtual ~OperatorTracer();

  /// What takes long and may come some steps before start(), which else does it.
  virtual void prepare() = 0;
  /// Throws kind `environment` if one records already, here or elsewhere in the process, or if the
  /// recorder refuses.
  virtual void start() = 0;
  /// What starts from here on belongs to `step`.
  void begin_step(int64_t step);
  /// Whether it has recorded about max_events, and would keep in memory what comes until stop()
  /// leaves it out: then rest() is called at the end of the step. On a device the host must have
  /// waited for the device before.
  [[nodiscard]] virtual bool full() const { return false; }
  /// From here on it only counts. Throws as stop() does.
  virtual void rest() {}
  /// What is running is cut off here. Throws what went wrong as an Error; it is stopped then, too.
  /// On a device the host must have waited for the device before.
  [[nodiscard]] virtual OperatorTrace stop() = 0;
  [[nodiscard]] virtual bool running() const = 0;

 protected:
  OperatorTracer() = default;
  void forget_steps() { steps_.clear(); }
  /// Orders the events and gives them their steps.
  void finish(OperatorTrace& trace) const;

 private:
  struct StepMark {
    int64_t step;
    int64_t start_ns;
  };
  std::vector<StepMark> steps_;
};

/// Records by callbacks of its own: a fraction of a microsecond an event, host operations only.
[[nodiscard]] std::unique_ptr<OperatorTracer> make_callback_tracer(
    const OperatorTracer::Settings& settings);
/// Records by LibTorch's profiler, Kineto, which also sees what runs on the device. Stacks are
/// those it knows, which are none in C++.
[[nodiscard]] std::unique_ptr<OperatorTracer> make_kineto_tracer(
    const OperatorTracer::Settings& settings, c10::Device device);

}  // namespace trireme::telemetry

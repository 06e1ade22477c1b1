#include <trireme/autograd/recompute.h>
#include <trireme/device/device_memory.h>
#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/span_log.h>

#include "debug/described.h"
#include "debug/growth_analysis.h"
#include "debug/open_calls.h"
#include "debug/tools.h"
#include "debug/unit_watcher.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

struct Snapshot {
  int64_t time_ns = 0;
  telemetry::MemoryMark host;
  device::DeviceMemory device;
};

int64_t bytes_of(const core::ParameterSet& set, bool gradients = false) {
  int64_t bytes = 0;
  for (const core::Parameter& p : set) {
    const at::Tensor& tensor = gradients ? p.tensor.grad() : p.tensor;
    if (tensor.defined()) bytes += static_cast<int64_t>(tensor.nbytes());
  }
  return bytes;
}

/// Memory at the moments of a step and in the units' forwards, and whether it grows. On CPUs the
/// counts are of the process.
class MemoryUsage final : public InsideTool {
 public:
  MemoryUsage(const Subject& subject, Journal& journal) : subject_(subject), journal_(journal) {}

  [[nodiscard]] bool reads_gradients() const override { return true; }

  void begin_step(const StepSeen& seen) override {
    step_ = seen;
    calls_.clear();
    open_.clear();
    const Snapshot now = snapshot("begin");
    watch(0, "resident memory of the process", static_cast<double>(now.host.rss));
    watch(1, "host memory of tensors", static_cast<double>(now.host.allocated));
    if (!subject_.device.is_cpu()) {
      watch(2, "memory of tensors on the device", static_cast<double>(now.device.allocated));
      watch(3, "memory that the device's allocator holds",
            static_cast<double>(now.device.reserved));
    }
    if (seen.looks) attendance_.emplace(subject_.units, *this);
  }
  void loss(const LossSeen&) override { (void)snapshot("forward"); }
  void gradients(const GradientsSeen&) override {
    mishap_.rethrow();
    gradients_ = bytes_of(subject_.parameters, /*gradients=*/true);
    (void)snapshot("backward");
  }
  void updated(const UpdateSeen&) override { (void)snapshot("update"); }
  void evaluated(const EvaluationSeen&) override { (void)snapshot("evaluation"); }

  void end_step() override {
    attendance_.reset();
    mishap_.rethrow();
    const Snapshot now = take();
    digest_ = {{"step", step_.step},
               {"allocated", now.host.allocated},
               {"peak", now.host.peak},
               {"rss", now.host.rss},
               {"parameters", bytes_of(subject_.parameters)},
               {"buffers", bytes_of(subject_.buffers)},
               {"gradients", gradients_}};
    if (!subject_.device.is_cpu())
      digest_["device"] = {{"allocated", now.device.allocated},
                           {"reserved", now.device.reserved},
                           {"peak", now.device.peak}};
    for (const Call& call : calls_)
      journal_.record(
          {{"unit", call.unit}, {"forward_delta", call.delta}, {"forward_peak", call.peak}});
    json record = digest_;
    record.erase("step");
    journal_.record(std::move(record));
  }

  /// The slopes only here: they are medians over pairs of steps.
  json digest() override {
    if (digest_.empty()) return json::object();
    if (const auto growth = growth_[0].growth()) digest_["rss_per_step"] = growth->per_step;
    if (const auto growth = growth_[subject_.device.is_cpu() ? 1 : 2].growth())
      digest_["allocated_per_step"] = growth->per_step;
    return std::exchange(digest_, json::object());
  }

 private:
  struct Call {
    std::string unit;
    int64_t delta = 0, peak = 0;
    device::DeviceMemory before = {};
    std::unique_ptr<telemetry::MemoryScope> scope = {};
  };

  [[nodiscard]] Snapshot take() const {
    return {telemetry::now_ns(), telemetry::mark_memory(), device::device_memory(subject_.device)};
  }

  Snapshot snapshot(const char* tag) {
    const Snapshot now = take();
    json fields{{"snapshot", tag},
                {"time_ns", now.time_ns},
                {"parameters", bytes_of(subject_.parameters)},
                {"buffers", bytes_of(subject_.buffers)},
                {"allocated", now.host.allocated},
                {"reserved", now.host.reserved},
                {"rss", now.host.rss}};
    if (!subject_.device.is_cpu())
      fields["device"] = {{"allocated", now.device.allocated}, {"reserved", now.device.reserved}};
    if (step_.looks) journal_.record(std::move(fields));
    return now;
  }

  void watch(size_t which, const char* what, double bytes) {
    const std::optional<GrowthAnalysis::Growth> leak = growth_[which].add(step_.step, bytes);
    if (!leak) return;
    journal_.record({{"leak", what},
                     {"bytes_per_step", leak->per_step},
                     {"bytes", leak->total},
                     {"from_step", leak->from_step},
                     {"to_step", leak->to_step}});
    journal_.finding(fmt::format(
        "the {} grows by {:.1f} KiB a step: by {:.1f} MiB from step {} to step {}", what,
        leak->per_step / 1024, leak->total / (1 << 20), leak->from_step, leak->to_step));
  }

  void before_forward(autograd::Unit& unit) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      Call call{.unit = unit.name()};
      if (subject_.device.is_cpu())
        call.scope = std::make_unique<telemetry::MemoryScope>();
      else
        call.before = device::device_memory(subject_.device);
      open_.open(std::move(call));
    });
  }
  void after_forward(autograd::Unit& unit) override {
    if (autograd::recomputing()) return;
    mishap_.guard([&] {
      std::optional<Call> call = open_.close(unit.name());
      if (!call) return;
      if (call->scope) {
        call->delta = call->scope->delta();
        call->peak = call->scope->peak();
        call->scope.reset();
      } else {
        // The device's peak is the step's, which others read: here it shows only where this call
        // raised it.
        const device::DeviceMemory now = device::device_memory(subject_.device);
        call->delta = now.allocated - call->before.allocated;
        call->peak = std::max(call->delta,
                              now.peak > call->before.peak ? now.peak - call->before.allocated : 0);
      }
      calls_.push_back(std::move(*call));
    });
  }

  const Subject& subject_;
  Journal& journal_;
  StepSeen step_;
  int64_t gradients_ = 0;
  OpenCalls<Call> open_;
  std::vector<Call> calls_;
  std::array<GrowthAnalysis, 4> growth_;
  json digest_ = json::object();
  std::optional<Attendance> attendance_;
};

}  // namespace

ToolPtr make_memory_usage(const Subject& subject, Journal& journal) {
  return std::make_unique<MemoryUsage>(subject, journal);
}

}  // namespace trireme::debug

#include "trainer/unit_statistics.h"

#include <algorithm>

#include <trireme/autograd/recompute.h>
#include <trireme/core/error.h>
#include <trireme/device/device_memory.h>
#include <trireme/telemetry/memory.h>

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

constexpr int64_t every_steps = 16;
constexpr int64_t first_step = 2;  // what comes before warms up

}  // namespace

UnitStatistics::UnitStatistics(model::Model& model, at::Device device, telemetry::Recorder& recorder)
    : device_(device), recorder_(recorder) {
  for (autograd::Unit* unit : model.units()) units_.push_back({.unit = unit});
}

UnitStatistics::~UnitStatistics() { attend(false); }

void UnitStatistics::attend(bool on) {
  if (on == attending_) return;
  attending_ = on;
  for (Measured& one : units_) on ? one.unit->add_attendant(*this) : one.unit->remove_attendant(*this);
}

int64_t UnitStatistics::allocated() const {
  return device_.is_cpu() ? telemetry::allocated_bytes() : device::device_memory(device_).allocated;
}

/// A device has passed them by the time of the next measured step.
void UnitStatistics::read_stretches() {
  for (const Stretch& one : stretches_) {
    one.end.wait_on_host();
    *one.seconds += one.end.seconds_since(one.begin);
  }
  stretches_.clear();
}

void UnitStatistics::begin_step(size_t micro_steps, bool spans) {
  spans_ = spans;
  measuring_ = step_++ % every_steps == first_step;
  attend(measuring_ || spans);
  if (!measuring_) return;
  read_stretches();
  micro_steps_ += static_cast<int64_t>(micro_steps);
}

void UnitStatistics::end_step() { attend(false); }

UnitStatistics::Measured& UnitStatistics::of(const autograd::Unit& unit) {
  const auto found = std::ranges::find(units_, &unit, &Measured::unit);
  check(found != units_.end(), "only the model's units are measured");
  return *found;
}

void UnitStatistics::before_forward(autograd::Unit& unit) {
  Measured& one = of(unit);
  if (measuring_) one.allocated = allocated();
  begin(one);
}

void UnitStatistics::begin(Measured& one) {
  if (measuring_) one.since = device::Mark::now(device_, /*timed=*/true);
  if (spans_) one.since_ns = telemetry::now_ns();
}

/// The unit, whose name it is, outlives the recording.
void UnitStatistics::leave_span(const Measured& one, telemetry::Category category) {
  if (spans_)
    recorder_.spans().write(one.unit->name().c_str(), category, one.since_ns, telemetry::now_ns() - one.since_ns, recorder_.step(),
                            telemetry::Track::units);
}

void UnitStatistics::after_forward(autograd::Unit& unit) {
  Measured& one = of(unit);
  if (autograd::recomputing()) return;  // an inner unit of one that is computed again, in the backward of the outer one
  leave_span(one, telemetry::Category::forward_pass);
  if (!measuring_) return;
  stretches_.push_back({&one.forward_seconds, one.since, device::Mark::now(device_, /*timed=*/true)});
  one.activations_bytes += std::max<int64_t>(0, allocated() - one.allocated);
}

void UnitStatistics::before_backward(autograd::Unit& unit) { begin(of(unit)); }

void UnitStatistics::after_backward(autograd::Unit& unit) {
  Measured& one = of(unit);
  leave_span(one, telemetry::Category::backward_pass);
  if (measuring_) stretches_.push_back({&one.backward_seconds, one.since, device::Mark::now(device_, /*timed=*/true)});
}

std::vector<report::UnitRow> UnitStatistics::rows(const StateForecast& state) {
  read_stretches();
  const auto times = static_cast<double>(std::max<int64_t>(1, micro_steps_));
  std::vector<report::UnitRow> rows;
  for (size_t i = 0; i < units_.size(); ++i) {
    const Measured& one = units_[i];
    const parallel::StateBytes bytes = state.of_unit(i);
    report::UnitRow& row = rows.emplace_back();
    row.name = one.unit->name();
    row.parameters_bytes = bytes.parameters;
    row.gradients_bytes = bytes.gradients;
    row.optimizer_bytes = bytes.optimizer;
    for (const core::Parameter& buffer : one.unit->buffers()) row.buffers_bytes += static_cast<int64_t>(buffer.tensor.nbytes());
    row.activations_bytes = static_cast<int64_t>(static_cast<double>(one.activations_bytes) / times);
    row.forward_seconds = one.forward_seconds / times;
    row.backward_seconds = one.backward_seconds / times;
  }
  return rows;
}

}  // namespace trireme::trainer

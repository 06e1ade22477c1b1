#pragma once

#include <cstdint>
#include <vector>

#include <trireme/autograd/unit.h>
#include <trireme/device/mark.h>
#include <trireme/model/model.h>
#include <trireme/report/unit_reducer.h>
#include <trireme/telemetry/recorder.h>

#include "trainer/state_forecast.h"

namespace trireme::trainer {

/// Measures what the units of a model take on this rank: the time of forward and backward, and the memory that forward leaves
/// for backward. In one step of sixteen, since looking costs a few microseconds a unit; after that of what shards the units, so
/// that waiting for parameters is not in the times.
class UnitStatistics final : private autograd::UnitAttendant {
 public:
  UnitStatistics(model::Model& model, at::Device device, telemetry::Recorder& recorder);
  ~UnitStatistics() override;
  UnitStatistics(const UnitStatistics&) = delete;
  UnitStatistics& operator=(const UnitStatistics&) = delete;

  /// Around the forwards and backwards of a step. `spans`: each of them leaves a span, whatever the step's number is;
  /// a step that is attended for its spans alone is not measured.
  void begin_step(size_t micro_steps, bool spans);
  void end_step();

  /// One a unit, in their order.
  [[nodiscard]] std::vector<report::UnitRow> rows(const StateForecast& state);

 private:
  struct Measured {
    autograd::Unit* unit = nullptr;
    double forward_seconds = 0, backward_seconds = 0;  // of all measured steps
    int64_t activations_bytes = 0;
    device::Mark since;  // the beginning of what is under way
    int64_t allocated = 0;
    int64_t since_ns = 0;  // by the host
  };
  /// A stretch of the device's time, read once it has passed it.
  struct Stretch {
    double* seconds;
    device::Mark begin, end;
  };
  void before_forward(autograd::Unit& unit) override;
  void after_forward(autograd::Unit& unit) override;
  void before_backward(autograd::Unit& unit) override;
  void after_backward(autograd::Unit& unit) override;
  [[nodiscard]] Measured& of(const autograd::Unit& unit);
  void attend(bool on);
  [[nodiscard]] int64_t allocated() const;
  void read_stretches();

  void begin(Measured& one);
  void leave_span(const Measured& one, telemetry::Category category);

  at::Device device_;
  telemetry::Recorder& recorder_;
  std::vector<Measured> units_;
  std::vector<Stretch> stretches_;  // of the last measured step
  int64_t step_ = 0;         // of this attempt
  int64_t micro_steps_ = 0;  // measured
  bool attending_ = false;
  bool measuring_ = false;  // the step counts in the sums
  bool spans_ = false;
};

}  // namespace trireme::trainer

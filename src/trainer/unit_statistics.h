#pragma once

#include <cstdint>
#include <vector>

#include <trireme/autograd/unit.h>
#include <trireme/model/model.h>
#include <trireme/report/unit_reducer.h>

#include "trainer/state_forecast.h"

namespace trireme::trainer {

/// Measures what the units of a model take on this rank: the time of forward and backward, and the memory that forward leaves
/// for backward. In one step of sixteen, since looking costs a few microseconds a unit; after that of what shards the units, so
/// that waiting for parameters is not in the times.
class UnitStatistics final : private autograd::UnitAttendant {
 public:
  explicit UnitStatistics(model::Model& model);
  ~UnitStatistics() override;
  UnitStatistics(const UnitStatistics&) = delete;
  UnitStatistics& operator=(const UnitStatistics&) = delete;

  /// Around the forwards and backwards of a step.
  void begin_step(size_t micro_steps);
  void end_step();

  /// One a unit, in their order.
  [[nodiscard]] std::vector<report::UnitRow> rows(const StateForecast& state) const;

 private:
  struct Measured {
    autograd::Unit* unit = nullptr;
    int64_t forward_ns = 0, backward_ns = 0, activations_bytes = 0;  // of all measured steps
    int64_t since_ns = 0, allocated = 0;                             // at the beginning of what is under way
  };
  void before_forward(autograd::Unit& unit) override;
  void after_forward(autograd::Unit& unit) override;
  void before_backward(autograd::Unit& unit) override;
  void after_backward(autograd::Unit& unit) override;
  [[nodiscard]] Measured& of(const autograd::Unit& unit);
  void attend(bool on);

  std::vector<Measured> units_;
  int64_t step_ = 0;         // of this attempt
  int64_t micro_steps_ = 0;  // measured
  bool attending_ = false;
};

}  // namespace trireme::trainer

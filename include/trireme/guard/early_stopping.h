#pragma once

#include <trireme/core/state.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace trireme::guard {

/// Watches the metric of the evaluations: which was best, and whether to stop because it no longer
/// improves.
class EarlyStopping final : public core::Stateful {
 public:
  enum class Mode { min, max };
  struct Evaluation {
    int64_t step = 0;
    double value = 0;
    bool operator==(const Evaluation&) const = default;
  };
  struct Decision {
    bool improved = false;
    bool stop = false;
  };

  /// `patience`: after so many evaluations in a row without improvement the run stops. Without it
  /// nothing stops.
  EarlyStopping(Mode mode, std::optional<int64_t> patience);

  /// An equal value is no improvement, and neither is one that is not finite.
  Decision observe(int64_t step, double value);

  [[nodiscard]] const std::optional<Evaluation>& best() const { return best_; }
  /// Whether the last evaluation asked to stop: a run that goes on from here has nothing left to do.
  [[nodiscard]] bool exhausted() const;
  [[nodiscard]] int64_t waited() const { return waited_; }
  [[nodiscard]] const std::vector<Evaluation>& history() const { return history_; }

  void save_state(core::StateWriter& out) const override;
  void load_state(const core::StateReader& in) override;

 private:
  [[nodiscard]] bool better(double value) const;

  Mode mode_;
  std::optional<int64_t> patience_;
  std::optional<Evaluation> best_;
  int64_t waited_ = 0;
  std::vector<Evaluation> history_;
};

}  // namespace trireme::guard

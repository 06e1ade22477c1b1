#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace trireme::parallel {

/// The order in which units are entered, pass after pass: learned in the first, expected in all
/// later ones.
class UnitOrder {
 public:
  /// The unit's number in the model is `unit`. False if another one was expected.
  [[nodiscard]] bool enter(size_t unit);
  /// What was expected instead of the unit that enter() refused; nothing: the end of the pass.
  [[nodiscard]] std::optional<size_t> expected() const;
  /// The unit that comes after the last one that was entered, if that is known.
  [[nodiscard]] std::optional<size_t> next() const;
  /// The pass is over; the first one that entered a unit is what is learned. False if units were
  /// expected that did not come.
  [[nodiscard]] bool end();

  [[nodiscard]] bool known() const { return known_; }
  [[nodiscard]] const std::vector<size_t>& units() const { return units_; }

 private:
  std::vector<size_t> units_;
  size_t position_ = 0;  // how many were entered in this pass
  bool known_ = false;
};

}  // namespace trireme::parallel

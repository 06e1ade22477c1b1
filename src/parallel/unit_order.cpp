#include "parallel/unit_order.h"

namespace trireme::parallel {

bool UnitOrder::enter(size_t unit) {
  if (!known_)
    units_.push_back(unit);
  else if (expected() != unit)
    return false;
  ++position_;
  return true;
}

std::optional<size_t> UnitOrder::expected() const {
  if (position_ < units_.size()) return units_[position_];
  return {};
}

std::optional<size_t> UnitOrder::next() const {
  return known_ ? expected() : std::nullopt;
}

bool UnitOrder::end() {
  const bool complete = !known_ || position_ == units_.size();
  known_ = known_ || !units_.empty();
  position_ = 0;
  return complete;
}

}  // namespace trireme::parallel

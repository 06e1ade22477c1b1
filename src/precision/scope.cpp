#include <trireme/precision/scope.h>

#include <ATen/autocast_mode.h>

namespace trireme::precision {

PrecisionScope::PrecisionScope(const Precision& precision, at::DeviceType device)
    : device_(device), active_(precision.autocast) {
  if (!active_) return;
  outer_enabled_ = at::autocast::is_autocast_enabled(device_);
  outer_type_ = at::autocast::get_autocast_dtype(device_);
  // The cache knows parameters but not types: casts to another type must not be found.
  if (outer_type_ != precision.compute) at::autocast::clear_cache();
  at::autocast::set_autocast_dtype(device_, precision.compute);
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::increment_nesting();
}

PrecisionScope::~PrecisionScope() {
  if (!active_) return;
  const bool outermost = at::autocast::decrement_nesting() == 0;
  if (outermost || outer_type_ != at::autocast::get_autocast_dtype(device_))
    at::autocast::clear_cache();
  at::autocast::set_autocast_enabled(device_, outer_enabled_);
  at::autocast::set_autocast_dtype(device_, outer_type_);
}

}  // namespace trireme::precision

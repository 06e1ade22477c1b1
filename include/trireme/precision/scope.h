#pragma once

#include <trireme/precision/precision.h>

namespace trireme::precision {

/// While it lives, operations of this thread on `device` run as the precision says: under autocast
/// if that is its mode. Open it around one forward and close it before parameters change: LibTorch
/// keeps the casts of parameters until the outermost scope ends.
class PrecisionScope {
 public:
  PrecisionScope(const Precision& precision, at::DeviceType device);
  ~PrecisionScope();
  PrecisionScope(const PrecisionScope&) = delete;
  PrecisionScope& operator=(const PrecisionScope&) = delete;

 private:
  at::DeviceType device_;
  bool active_;
  bool outer_enabled_ = false;
  at::ScalarType outer_type_ = at::kFloat;
};

}  // namespace trireme::precision

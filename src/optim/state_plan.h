#pragma once

#include <trireme/optim/config.h>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

/// What the moments are stored in.
[[nodiscard]] at::ScalarType slot_type(const OptimConfig& config);

/// Whether a parameter of this type has a float32 master.
[[nodiscard]] bool has_master(const OptimConfig& config, at::ScalarType parameter);

}  // namespace trireme::optim

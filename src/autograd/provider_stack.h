#pragma once

#include <trireme/autograd/saved_tensors.h>

namespace trireme::autograd {

/// The provider of this thread's innermost SavedTensorScope; null without one.
[[nodiscard]] SavedTensorProvider* current_provider();

}  // namespace trireme::autograd

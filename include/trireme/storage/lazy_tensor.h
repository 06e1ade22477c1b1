#pragma once

#include <trireme/storage/safetensors_writer.h>

#include <functional>

#include <ATen/core/Tensor.h>

namespace trireme::storage {

/// A tensor that is described now and read when it is needed, so that any number of them can be
/// passed on without holding their values.
struct LazyTensor : TensorSpec {
  /// Contiguous, on the CPU, of the stated type and shape; must not be written: the memory may be
  /// somebody else's. Whoever calls holds the values, nobody keeps them.
  std::function<at::Tensor()> values;
};

}  // namespace trireme::storage

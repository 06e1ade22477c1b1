#pragma once

#include <trireme/core/random.h>

#include "ops/update_rules.h"

#include <cstdint>
#include <functional>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// One tensor of an optimizer. All of one element count, dense in memory alike.
struct UpdateEntry {
  at::Tensor parameter;  ///< float32, bfloat16 or float16
  at::Tensor gradient;   ///< float32
  at::Tensor master;     ///< float32; undefined: the parameter (not float16) is updated itself
  std::vector<at::Tensor> slots;  ///< float32 or bfloat16, all alike, as many as the rule needs
  double lr_scale = 1.0;
  double weight_decay = 0.0;
  /// Of stochastic rounding, which bfloat16 parameters and slots are stored with: folded with the
  /// array (0: parameter, 1 and 2: slots) and the number of the update, see stochastic_rounding.h.
  core::RandomKey rounding_key{};
  int64_t begin = 0;  ///< number of the first element there
};

/// One update of many tensors by few launches. Inputs are 0-dim tensors on the device: nothing is
/// read back, so that a graph can hold it.
class MultiTensorUpdate {
 public:
  virtual ~MultiTensorUpdate();
  struct Inputs {
    at::Tensor lr;              ///< float64
    at::Tensor gradient_scale;  ///< float32
    at::Tensor nonfinite;       ///< float32: other than 0, only gradients are cleared
    at::Tensor steps;           ///< int64: updates made; counts up, unless nonfinite
    /// Adds up a one-dimensional float64 tensor over the ranks that hold parts of the same
    /// parameters; may be empty. Called for lamb alone, whatever `nonfinite` is.
    std::function<void(const at::Tensor&)> add_over_shards;
  };
  /// Updates parameters, masters and slots, and clears gradients.
  virtual void step(const Inputs& inputs) = 0;
};

}  // namespace trireme::ops

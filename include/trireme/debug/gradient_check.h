#pragma once

#include <trireme/core/parameters.h>
#include <trireme/core/random.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::debug {

struct GradientCheckOptions {
  int64_t elements = 8;  ///< of each parameter, drawn with `random`; all of smaller ones
  double tolerance =
      1e-5;  ///< relative error up to which a gradient is right; float32 needs about 1e-2
  /// Half of the difference, relative to the larger of 1 and the element; 0: the cube root of the
  /// precision, where the errors of rounding and of the method are alike.
  double step = 0;
  core::RandomKey random;
};

struct ParameterCheck {
  std::string parameter;
  int64_t checked = 0;
  // Of its worst element, by its index in the flattened parameter:
  int64_t element = -1;
  double by_backward = 0, by_differences = 0;
  double error = 0;  ///< relative, after what rounding explains
};

struct GradientCheck {
  std::vector<ParameterCheck> parameters;
  size_t worst = 0;  ///< of the parameters; there is one unless there are none
  double tolerance = 0;

  [[nodiscard]] bool passed() const;
  /// One line: what was checked and the worst offender.
  [[nodiscard]] std::string text() const;
};

/// Compares the gradients of `loss` (a 0-dim tensor with its graph, each call from the same inputs)
/// with central differences. Meant for models built in float64 (BuildContext::dtype) and small: it
/// takes two calls an element. Parameters and their gradients are afterwards what they were. Error
/// `plugin_failed` if two calls give different losses, or one that is not finite.
[[nodiscard]] GradientCheck check_gradients(const std::function<at::Tensor()>& loss,
                                            const core::ParameterSet& parameters,
                                            const GradientCheckOptions& options = {});

}  // namespace trireme::debug

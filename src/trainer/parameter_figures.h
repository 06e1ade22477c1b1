#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace trireme::trainer {

/// A figure of every parameter at a step, as the logarithm to base 10: such figures differ by orders of magnitude.
struct ParameterFigure {
  std::string tag;  ///< of a histogram for TensorBoard
  int64_t step = 0;
  std::vector<double> logarithms;  ///< without those of zero, which have none
};

/// What the digests of all ranks (debug::Debugger::digest) have of such figures: gradient_norms the norm of each gradient,
/// backward_pass the ratio of each update to its weight. Where ranks hold parts of the parameters, the norms are those of the
/// whole and each part has a ratio; else all ranks say the same, and the first that says something is heard.
[[nodiscard]] std::vector<ParameterFigure> parameter_figures(std::span<const std::string> by_rank);

}  // namespace trireme::trainer

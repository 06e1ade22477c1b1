#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace trireme::telemetry {

/// An input of an operation as far as its cost depends on it.
struct OperatorInput {
  enum class Kind : uint8_t { other, tensor, numbers };
  Kind kind = Kind::other;
  std::span<const int64_t>
      values;  ///< tensor: its sizes; numbers: an integer, a flag, or a list of them
};

/// Floating-point operations of "aten::<...>" with these inputs in the order of its schema, a
/// multiplication and an addition being two; 0 for what is not a product of matrices, a convolution
/// or an attention, or not understood. Counted is what the result is defined by: additions of a
/// bias, masks and padding do not change it, and causal attention counts in full. These are the
/// conventions of torch.utils.flop_counter and of the model FLOPs of Chowdhery et al. 2022, "PaLM",
/// appendix B.
[[nodiscard]] int64_t flops_of(std::string_view operation, std::span<const OperatorInput> inputs);

}  // namespace trireme::telemetry

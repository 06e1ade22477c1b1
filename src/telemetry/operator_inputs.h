#pragma once

#include <trireme/telemetry/flops.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <ATen/core/ivalue.h>

namespace trireme::telemetry {

/// Inputs of an operation, written as numbers into memory that is there already.
class InputCode {
 public:
  /// What one operation takes at most; what would need more is left out.
  static constexpr size_t max_words = 192;
  /// Returns how many words were written.
  static size_t write(c10::ArrayRef<const c10::IValue> inputs, int64_t* to);

  [[nodiscard]] static std::vector<OperatorInput> inputs(const int64_t* code);
  /// Sizes of the tensors, as PyTorch's traces show them.
  [[nodiscard]] static std::string shapes(const int64_t* code);
};

}  // namespace trireme::telemetry

#pragma once

#include <trireme/comm/communicator.h>

#include <cstddef>
#include <span>

#include <ATen/core/Tensor.h>

namespace trireme::comm {

/// One element-wise reduction over ranks. The result of an element depends on the inputs and their
/// order alone, not on where the element lies, so any way of cutting a tensor into pieces gives the
/// same bits. Half types are accumulated in float32 and rounded once, to nearest even. A NaN in any
/// input of a max or min gives a NaN.
class Reduction {
 public:
  /// float32, float64, bfloat16, float16 or int64; anything else is a bug of the caller.
  Reduction(at::ScalarType dtype, ReduceOp op);

  [[nodiscard]] std::size_t element_bytes() const { return element_bytes_; }
  /// out[i] = inputs[0][i] op inputs[1][i] op ...; `out` may be one of the inputs.
  void operator()(std::byte* out, std::span<const std::byte* const> inputs,
                  std::size_t count) const {
    reduce_(out, inputs, count);
  }

 private:
  using Function = void (*)(std::byte*, std::span<const std::byte* const>, std::size_t);
  Function reduce_;
  std::size_t element_bytes_;
};

}  // namespace trireme::comm

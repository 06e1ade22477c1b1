#pragma once

#include "support/operation_results.h"

#include <ATen/ATen.h>

// Operations with one result, compared with those of another one.
namespace trireme::ops {

/// What the operation computes, and gradients where those of the result are eighths from -1 to 1, which every type holds.
template <class Operation>
Tensors results(Operation operation, const Tensors& in) {
  const at::Tensor y = operation(in);
  const at::Tensor given = (((at::arange(y.numel(), at::kLong) * 7 % 17) - 8).to(at::kDouble) / 8).view(y.sizes());
  return results_and_gradients([&](const Tensors& t) { return Tensors{operation(t)}; }, in, {given});
}

inline double tolerance_of(at::ScalarType type) { return type == at::kFloat ? 1e-5 : type == at::kHalf ? 4e-3 : 2e-2; }
/// Those of the kernels.
inline constexpr at::ScalarType types[] = {at::kFloat, at::kBFloat16, at::kHalf};

}  // namespace trireme::ops

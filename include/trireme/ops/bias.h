#pragma once

#include <ATen/core/Tensor.h>

// A bias that is added where the result of a matrix product is read next, instead of by the product
// itself, saves one pass over the result. The bias has any floating type.
namespace trireme::ops {

/// residual + (x + bias) in one pass, each row of x getting bias_C. x and residual have one shape
/// that ends in C, which may hold no elements, and any floating type.
[[nodiscard]] at::Tensor add_bias(const at::Tensor& residual, const at::Tensor& x,
                                  const at::Tensor& bias_C);

}  // namespace trireme::ops

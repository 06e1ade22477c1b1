#pragma once

#include "support/operation_results.h"

#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

// What an operation computes and its gradients, to be compared with those of another one.
namespace trireme::ops {

/// The operation of the inputs, and the gradients of them all of a weighted sum of its result.
template <class Operation>
Tensors results(Operation operation, const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.defined() ? input.detach().clone().requires_grad_(true) : input);
  const at::Tensor y = operation(leaves);
  // Eighths from -1 to 1, which every type holds.
  const at::Tensor weights = ((at::arange(y.numel(), at::kLong) * 7 % 17) - 8).to(at::kDouble) / 8;
  torch::autograd::backward({(y * weights.view(y.sizes()).to(y.scalar_type()).to(y.device())).sum()});
  Tensors all = {y.detach()};
  for (const at::Tensor& leaf : leaves)
    if (leaf.defined()) all.push_back(leaf.grad());
  return all;
}

inline Tensors moved(const Tensors& tensors, c10::Device device, at::ScalarType type) {
  Tensors to;
  for (const at::Tensor& t : tensors) to.push_back(t.defined() ? t.to(type).to(device) : t);
  return to;
}

inline double tolerance_of(at::ScalarType type) { return type == at::kFloat ? 1e-5 : type == at::kHalf ? 4e-3 : 2e-2; }
/// Those of the kernels.
inline constexpr at::ScalarType types[] = {at::kFloat, at::kBFloat16, at::kHalf};

}  // namespace trireme::ops

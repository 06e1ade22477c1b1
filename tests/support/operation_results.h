#pragma once

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::ops {

using Tensors = std::vector<at::Tensor>;
using Operation = std::function<Tensors(const Tensors&)>;

/// What an operation returns for `inputs` (undefined ones aside, leaves that want gradients), followed by their gradients for
/// the gradients `given` of its results; undefined gradients: of results that nobody uses.
inline Tensors results_and_gradients(const Operation& operation, const Tensors& inputs, const Tensors& given) {
  Tensors leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.defined() ? input.detach().requires_grad_(true) : input);
  Tensors all = operation(leaves), used, of_used;
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i].defined()) {
      used.push_back(all[i]);
      of_used.push_back(given[i].to(all[i].options()));
    }
  torch::autograd::backward(used, of_used);
  for (at::Tensor& result : all) result = result.detach();
  for (const at::Tensor& leaf : leaves)
    if (leaf.defined()) all.push_back(leaf.grad());
  return all;
}

/// Copies with another type on another device, undefined ones as they are.
inline Tensors copies(const Tensors& tensors, c10::Device device, at::ScalarType type) {
  Tensors to;
  for (const at::Tensor& t : tensors) to.push_back(t.defined() ? t.to(type).to(device) : t);
  return to;
}

/// The same values where nothing wider than one element is aligned.
inline at::Tensor misaligned(const at::Tensor& x) {
  return at::cat({at::zeros({1}, x.options()), x.reshape({-1})}).narrow(0, 1, x.numel()).view(x.sizes());
}

/// Relative to the largest of theirs, elements of which are in double precision.
inline void expect_close(const Tensors& ours, const Tensors& theirs, double tolerance) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    ASSERT_EQ(ours[i].defined(), theirs[i].defined()) << i;
    if (!ours[i].defined()) continue;
    ASSERT_EQ(ours[i].sizes(), theirs[i].sizes()) << i;
    if (ours[i].numel() == 0) continue;
    const at::Tensor a = ours[i].cpu().to(at::kDouble), b = theirs[i].cpu().to(at::kDouble);
    const double scale = std::max(1e-3, b.abs().max().item<double>()), worst = (a - b).abs().max().item<double>();
    EXPECT_LE(worst, tolerance * scale) << "tensor " << i << ", " << ours[i].scalar_type() << ours[i].sizes();
  }
}

inline void expect_equal_bits(const Tensors& ours, const Tensors& theirs) {
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); ++i) EXPECT_TRUE(at::equal(ours[i], theirs[i])) << i;
}

}  // namespace trireme::ops

#pragma once

#include <trireme/autograd/recompute.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace trireme::autograd {

/// Blocks x + dropout(W2 gelu(W1 norm(x))), enough like a transformer's to show what is saved.
class ResidualStack {
 public:
  using Tensors = std::vector<at::Tensor>;

  ResidualStack(int64_t blocks, int64_t width, double dropout = 0.0) : dropout_(dropout) {
    at::manual_seed(17);
    for (int64_t i = 0; i < blocks; ++i) {
      Block block;
      block.scale = at::ones({width}).requires_grad_(true);
      block.shift = at::zeros({width}).requires_grad_(true);
      block.in = (0.2 * at::randn({4 * width, width})).requires_grad_(true);
      block.out = (0.2 * at::randn({width, 4 * width})).requires_grad_(true);
      blocks_.push_back(block);
    }
  }

  /// The forward of block i, which counts its beginnings and ends.
  [[nodiscard]] RegionForward block(size_t i) {
    return [this, i](const Tensors& inputs) -> Tensors {
      ++begun;
      const Block& b = blocks_[i];
      const at::Tensor& x = inputs.at(0);
      const at::Tensor normed = at::layer_norm(x, b.scale.sizes(), b.scale, b.shift);
      const at::Tensor inner = at::gelu(at::linear(normed, b.in), "tanh");
      const at::Tensor dropped = dropout_ > 0 ? at::dropout(inner, dropout_, true) : inner;
      const at::Tensor y = x + at::linear(dropped, b.out);
      ++ended;
      return {y};
    };
  }

  [[nodiscard]] at::Tensor plain(at::Tensor x) {
    for (size_t i = 0; i < blocks_.size(); ++i) x = block(i)({x})[0];
    return x;
  }
  [[nodiscard]] at::Tensor recomputed(at::Tensor x) {
    for (size_t i = 0; i < blocks_.size(); ++i)
      x = autograd::recomputed("h." + std::to_string(i), block(i), {x})[0];
    return x;
  }

  /// Takes the gradients of all parameters.
  [[nodiscard]] Tensors take_gradients() {
    Tensors gradients;
    for (Block& b : blocks_)
      for (at::Tensor* p : {&b.scale, &b.shift, &b.in, &b.out}) {
        gradients.push_back(p->grad());
        p->mutable_grad().reset();
      }
    return gradients;
  }
  [[nodiscard]] at::Tensor& weight(size_t i) { return blocks_[i].in; }
  [[nodiscard]] size_t size() const { return blocks_.size(); }

  int begun = 0, ended = 0;

 private:
  struct Block {
    at::Tensor scale, shift, in, out;
  };
  double dropout_;
  std::vector<Block> blocks_;
};

[[nodiscard]] inline bool bit_equal(const std::vector<at::Tensor>& a,
                                    const std::vector<at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!a[i].defined() || !b[i].defined() || !at::equal(a[i], b[i])) return false;
  return true;
}

/// |a - b| / |b| over all of them.
[[nodiscard]] inline double relative_difference(const std::vector<at::Tensor>& a,
                                                const std::vector<at::Tensor>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]).square().sum().item<double>();
    size += b[i].square().sum().item<double>();
  }
  return std::sqrt(difference / size);
}

}  // namespace trireme::autograd

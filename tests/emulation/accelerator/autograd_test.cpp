#include "accelerator_test.h"

#include <vector>

#include <torch/csrc/autograd/autograd.h>

namespace trireme::emulated {
namespace {

class Autograd : public AcceleratorTest {};

struct Network {
  at::Tensor table, weight, bias, gain, shift, head;

  explicit Network(c10::Device device) {
    at::Generator generator = at::detail::createCPUGenerator(3);
    const auto make = [&](at::IntArrayRef sizes) {
      return at::randn(sizes, generator).to(device).requires_grad_();
    };
    table = make({11, 8});
    weight = make({8, 24});
    bias = make({24});
    gain = make({8});
    shift = make({8});
    head = make({8, 11});
  }
  [[nodiscard]] std::vector<at::Tensor> all() const {
    return {table, weight, bias, gain, shift, head};
  }

  at::Tensor loss(const at::Tensor& tokens, const at::Tensor& targets) const {
    const at::Tensor x = at::layer_norm(at::embedding(table, tokens), {8}, gain, shift);
    const auto qkv = at::linear(x, weight.t(), bias).view({2, 5, 3, 2, 4}).permute({2, 0, 3, 1, 4});
    at::Tensor scores = at::matmul(qkv[0], qkv[1].transpose(-2, -1)) * 0.5;
    const at::Tensor y =
        at::matmul(at::softmax(scores, -1), qkv[2]).transpose(1, 2).reshape({2, 5, 8});
    const at::Tensor z = x + at::gelu(y, "tanh");
    return at::cross_entropy_loss(at::matmul(z, head).view({10, 11}), targets.view(-1));
  }
};

TEST_F(Autograd, GradientsAreThoseOfTheCpu) {
  const at::Tensor tokens = at::arange(10, at::kLong).view({2, 5}),
                   targets = (tokens + 1).remainder(11);
  const Network here(at::kCPU), there(device_);
  const at::Tensor expected = here.loss(tokens, targets),
                   found = there.loss(tokens.to(device_), targets.to(device_));
  EXPECT_TRUE(same_bits(found, expected));
  expected.backward();
  found.backward();
  for (size_t i = 0; i < here.all().size(); ++i)
    EXPECT_TRUE(same_bits(there.all()[i].grad(), here.all()[i].grad())) << i;
}

TEST_F(Autograd, AttentionHasGradients) {
  const at::Tensor x = at::randn({1, 2, 8, 4}).requires_grad_();
  const at::Tensor y = x.detach().to(device_).requires_grad_();
  at::scaled_dot_product_attention(x, x, x, {}, 0.0, true).square().sum().backward();
  at::scaled_dot_product_attention(y, y, y, {}, 0.0, true).square().sum().backward();
  EXPECT_TRUE(at::allclose(y.grad().cpu(), x.grad(), 1e-4, 1e-5));
}

TEST_F(Autograd, ConvolutionsHaveGradients) {
  const at::Tensor x = at::randn({2, 3, 6, 6}), w = at::randn({4, 3, 3, 3}).requires_grad_();
  const at::Tensor v = w.detach().to(device_).requires_grad_();
  at::conv2d(x, w, {}, 1, 1).relu().sum().backward();
  at::conv2d(x.to(device_), v, {}, 1, 1).relu().sum().backward();
  EXPECT_TRUE(same_bits(v.grad(), w.grad()));
}

TEST_F(Autograd, GradientsAddUpInABuffer) {
  const at::Tensor w = at::randn({4}).to(device_).requires_grad_();
  const at::Tensor flat = at::zeros({6}, w.options().requires_grad(false));
  w.mutable_grad() = flat.narrow(0, 1, 4);
  (w * w).sum().backward();
  (w * w).sum().backward();
  EXPECT_TRUE(same_bits(flat.narrow(0, 1, 4), (w.detach() * 4).cpu()));
}

TEST_F(Autograd, RunsInTheDevicesThreadOnTheForwardStream) {
  std::optional<c10::Stream> stream;
  const at::Tensor w = at::ones({4}, device_).requires_grad_();
  const at::Tensor y = w * 2;
  y.register_hook([&](const at::Tensor& gradient) {
    stream = c10::impl::VirtualGuardImpl(device_type).getStream(gradient.device());
  });
  y.sum().backward();
  EXPECT_EQ(stream, c10::impl::VirtualGuardImpl(device_type).getStream(device_));
}

}  // namespace
}  // namespace trireme::emulated

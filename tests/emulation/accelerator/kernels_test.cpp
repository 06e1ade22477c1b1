#include "ops/kernels.h"

#include "accelerator_test.h"

#include <vector>

namespace trireme::emulated {
namespace {

// That the kernels compute the right thing is for the tests of tests/contract/ops; here: that the
// device serves them.
class KernelCalls : public AcceleratorTest {
 protected:
  [[nodiscard]] ops::Kernels& kernels() const { return *ops::kernels_for(at::empty({0}, device_)); }
};

TEST_F(KernelCalls, WorkOnTheDevicesMemory) {
  const at::Tensor x = at::randn({4, 8}), w = at::randn({8, 6}), bias = at::randn({6});
  const ForbidSyncs forbid;
  const at::Tensor y = kernels().gelu(kernels().linear(
      x.pin_memory().to(device_, /*non_blocking=*/true), w.pin_memory().to(device_, true), false,
      bias.pin_memory().to(device_, true)));
  EXPECT_EQ(y.device(), device_);
  at::Tensor host = at::empty({4, 6}, at::TensorOptions().pinned_memory(true));
  host.copy_(y, /*non_blocking=*/true);
  EXPECT_TRUE(at::allclose(host, at::gelu(at::addmm(bias, x, w), "tanh"), 1e-5, 1e-5));
}

TEST_F(KernelCalls, AreRecorded) {
  const at::Tensor logits = at::randn({4, 7}), targets = at::tensor({1, 6, 0, 3}, at::kLong);
  const auto forward_and_backward = [&](const at::Tensor& x, const at::Tensor& to,
                                        const at::Tensor& gradient) {
    const ops::Kernels::CrossEntropyRows rows = kernels().cross_entropy(x, to, {}, -100);
    kernels().cross_entropy_backward(x, x, rows, gradient);
    return rows.loss_sum;
  };
  const at::Tensor x = logits.to(device_), to = targets.to(device_),
                   gradient = at::ones({}, device_);
  at::Tensor loss;
  const auto graph = backend().make_graph(0);
  graph->record([&] { loss = forward_and_backward(x, to, gradient); });
  EXPECT_TRUE(same_bits(x, logits));
  for (int i = 0; i < 2; ++i) {
    const at::Tensor other = at::randn({4, 7}), eager = other.to(device_);
    x.copy_(other);
    graph->replay();
    const at::Tensor expected = forward_and_backward(eager, to, gradient);
    EXPECT_TRUE(same_bits(loss, expected.cpu()));
    EXPECT_TRUE(same_bits(x, eager.cpu()));
  }
}

TEST_F(KernelCalls, UpdatesAreRecorded) {
  struct State {
    at::Tensor parameter, gradient, first, second, steps;
    std::unique_ptr<ops::MultiTensorUpdate> update;
    [[nodiscard]] ops::MultiTensorUpdate::Inputs inputs(const c10::Device& device) const {
      return {at::full({}, 1e-2, at::TensorOptions(device).dtype(at::kDouble)),
              at::ones({}, device),
              at::zeros({}, device),
              steps,
              {}};
    }
  };
  const auto make = [&] {
    State state{at::linspace(-1, 1, 12, device_),
                at::zeros({12}, device_),
                at::zeros({12}, device_),
                at::zeros({12}, device_),
                at::zeros({}, at::TensorOptions(device_).dtype(at::kLong)),
                nullptr};
    ops::UpdateEntry entry;
    entry.parameter = state.parameter;
    entry.gradient = state.gradient;
    entry.slots = {state.first, state.second};
    state.update = kernels().make_update({}, {entry});
    return state;
  };
  const State eager = make(), repeated = make();
  const auto inputs = repeated.inputs(device_);
  const at::Tensor before = repeated.parameter.cpu();
  const auto graph = backend().make_graph(0);
  graph->record([&] { repeated.update->step(inputs); });
  EXPECT_TRUE(same_bits(repeated.parameter, before));
  EXPECT_EQ(repeated.steps.item<int64_t>(), 0);
  for (int i = 0; i < 3; ++i) {
    const at::Tensor gradient = at::randn({12});
    eager.gradient.copy_(gradient);
    repeated.gradient.copy_(gradient);
    eager.update->step(eager.inputs(device_));
    graph->replay();
    EXPECT_TRUE(same_bits(repeated.parameter, eager.parameter.cpu()));
    EXPECT_EQ(repeated.gradient.abs().sum().item<float>(), 0);
  }
  EXPECT_EQ(repeated.steps.item<int64_t>(), 3);
}

}  // namespace
}  // namespace trireme::emulated

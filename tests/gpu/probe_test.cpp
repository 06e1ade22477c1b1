// What the design rests on and LibTorch does not promise. Runs on the GPU, and on the emulated accelerator, which says whether the
// test itself is right.

#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/device/mark.h>
#include <trireme/ops/embedding.h>

#include "gpu/device.h"

#include <cstdlib>
#include <string>

#include <ATen/ATen.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/csrc/autograd/autograd.h>

#include <gtest/gtest.h>

namespace trireme::gpu {
namespace {

/// Which back end is probed: cuda, or what the environment says.
const std::string& probed() {
  static const std::string name = [] {
    const char* const said = std::getenv("TRIREME_PROBE");
    return std::string(said == nullptr ? "cuda" : said);
  }();
  return name;
}

device::Backend* opened() {
  static device::Backend* const backend = [] {
    if (probed() == "cuda" && !device::look_for_gpus().visible()) return static_cast<device::Backend*>(nullptr);
    return &device::load_backend(probed());
  }();
  return backend;
}

class Probe : public testing::Test {
 protected:
  void SetUp() override {
    if (opened() == nullptr) GTEST_SKIP() << "no GPU";
    opened()->use(0);
    autograd::install_engine();
    device_ = c10::Device(opened()->type(), 0);
    at::manual_seed(7);
  }
  [[nodiscard]] at::Tensor random(at::IntArrayRef shape, at::ScalarType type = at::kFloat) const {
    return at::randn(shape).to(device_, type);
  }
  [[nodiscard]] static bool same(const at::Tensor& a, const at::Tensor& b) { return at::equal(a.cpu(), b.cpu()); }

  c10::Device device_{c10::kCPU};
};

TEST_F(Probe, AFloat32ViewIsTheGradientOfABfloat16Parameter) {
  const at::Tensor flat = at::zeros({100}, at::TensorOptions(device_).dtype(at::kFloat));
  at::Tensor parameter = random({4, 5}, at::kBFloat16).requires_grad_();
  const at::Tensor view = flat.narrow(0, 40, 20).view({4, 5});
  parameter.mutable_grad() = view;
  at::Tensor expected = at::zeros({4, 5});
  for (int micro_step = 0; micro_step < 3; ++micro_step) {
    const at::Tensor x = random({4, 5}, at::kBFloat16);
    (parameter * x).sum().to(at::kFloat).backward();
    expected += x.cpu().to(at::kFloat);
  }
  EXPECT_EQ(parameter.grad().data_ptr(), view.data_ptr()) << "accumulated in place";
  EXPECT_EQ(parameter.grad().scalar_type(), at::kFloat);
  EXPECT_TRUE(same(flat.narrow(0, 40, 20).view({4, 5}), expected)) << "in float32";
  EXPECT_EQ(flat.narrow(0, 0, 40).abs().sum().item<float>(), 0);
}

TEST_F(Probe, TheMemoryOfParametersIsFreedAndRefilledBehindAutograd) {
  const at::Tensor x = random({64, 256});
  const at::Tensor values = random({256, 256});
  const auto gradient_of = [&](bool freed) {
    at::Tensor whole = values.clone();
    at::Tensor parameter = whole.view({256, 256}).detach().requires_grad_();
    const at::Tensor loss = at::relu(at::mm(x, parameter)).mm(parameter.t()).square().mean();
    c10::StorageImpl& storage = *parameter.storage().unsafeGetStorageImpl();
    if (freed) {
      const size_t bytes = storage.nbytes();
      storage.set_data_ptr_noswap(at::DataPtr(nullptr, device_));
      storage.set_nbytes(0);
      const at::Tensor other = at::full({256, 256}, 3.0, values.options());  // takes the memory meanwhile
      EXPECT_EQ(other.sum().item<double>(), 3.0 * 256 * 256);
      storage.set_data_ptr_noswap(storage.allocator()->allocate(bytes));
      storage.set_nbytes(bytes);
      const at::AutoDispatchBelowADInplaceOrView unseen;
      parameter.copy_(values);
    }
    loss.backward();
    return parameter.grad().clone();
  };
  EXPECT_TRUE(same(gradient_of(true), gradient_of(false)));
}

/// A training step by hand: forward, backward into a fixed buffer, update, gradient cleared.
struct Step {
  explicit Step(const at::Tensor& first) : parameter(first.clone().requires_grad_()), flat(at::zeros_like(first)) {
    parameter.mutable_grad() = flat;
  }
  at::Tensor run(const at::Tensor& x) {
    const at::Tensor loss = at::gelu(at::mm(x, parameter)).square().mean();
    torch::autograd::backward({loss}, {at::ones_like(loss)});
    const at::NoGradGuard no_grad;
    parameter.sub_(flat * 0.1);
    flat.zero_();
    return loss.detach();
  }
  at::Tensor parameter, flat;
};

TEST_F(Probe, ARecordedTrainingStepRepeatsTheEagerOne) {
  const at::Tensor first = random({32, 32});
  std::vector<at::Tensor> batches;
  for (int i = 0; i < 8; ++i) batches.push_back(random({16, 32}));
  Step eager(first), repeated(first);
  std::vector<at::Tensor> losses;
  for (const at::Tensor& x : batches) losses.push_back(eager.run(x).cpu());

  const at::Tensor input = at::zeros_like(batches[0]);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(same(repeated.run(batches[static_cast<size_t>(i)]), losses[static_cast<size_t>(i)]));
  const auto graph = opened()->make_graph(0);
  at::Tensor loss;
  graph->record([&] { loss = repeated.run(input); });
  for (size_t i = 3; i < batches.size(); ++i) {
    input.copy_(batches[i]);
    graph->replay();
    EXPECT_TRUE(same(loss, losses[i])) << i;
  }
  EXPECT_TRUE(same(repeated.parameter.detach(), eager.parameter.detach()));
}

TEST_F(Probe, ASeedThatIsSetBetweenReplaysIsObeyed) {
  const auto seed = [&](uint64_t value) {
    at::Generator generator = at::globalContext().defaultGenerator(device_);
    const std::lock_guard lock(generator.mutex());
    generator.set_current_seed(value);
  };
  const at::Tensor x = random({1000}).abs() + 1.0;
  const auto drop = [&] { return x * at::empty_like(x).bernoulli_(0.5); };
  std::vector<at::Tensor> eager;
  for (const uint64_t value : {11, 12, 11}) {
    seed(value);
    eager.push_back(drop().cpu());
  }
  ASSERT_FALSE(same(eager[0], eager[1]));
  seed(1);
  const auto graph = opened()->make_graph(0);
  at::Tensor dropped;
  graph->record([&] { dropped = drop(); });
  for (const auto& [value, expected] : std::vector<std::pair<uint64_t, at::Tensor>>{{11, eager[0]}, {12, eager[1]}, {11, eager[2]}}) {
    seed(value);
    graph->replay();
    EXPECT_TRUE(same(dropped, expected)) << value;
  }
}

TEST_F(Probe, TheGradientOfAnEmbeddingIsRecorded) {
  const at::Tensor weight = random({50, 16}).requires_grad_();
  const at::Tensor gradient = at::zeros({50, 16}, weight.options().requires_grad(false));
  weight.mutable_grad() = gradient;
  const at::Tensor indices = at::zeros({40}, at::TensorOptions(device_).dtype(at::kLong));
  const auto run = [&] {
    gradient.zero_();
    const at::Tensor y = ops::embedding(weight, indices);
    torch::autograd::backward({(y * y).sum()}, {at::ones({}, y.options().requires_grad(false))});
  };
  std::vector<at::Tensor> rows, expected;
  for (int i = 0; i < 3; ++i) {
    rows.push_back(at::randint(0, 50, {40}, at::TensorOptions(at::kLong)));
    indices.copy_(rows.back());
    run();
    expected.push_back(gradient.cpu());
  }
  const auto graph = opened()->make_graph(0);
  graph->record(run);
  for (size_t i = 0; i < rows.size(); ++i) {
    indices.copy_(rows[i]);
    graph->replay();
    EXPECT_TRUE(same(gradient, expected[i])) << i;
  }
}

TEST_F(Probe, WhatCannotBeRecordedIsAnErrorAndTheDeviceGoesOn) {
  const at::Tensor x = random({10});
  const auto graph = opened()->make_graph(0);
  try {
    graph->record([&] { (void)x.sum().item<float>(); });
    FAIL() << "the host cannot wait for what is not executed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::environment);
  }
  EXPECT_TRUE(same(x + x, x.cpu() * 2));
  const auto another = opened()->make_graph(0);
  at::Tensor doubled;
  another->record([&] { doubled = x + x; });
  another->replay();
  EXPECT_TRUE(same(doubled, x.cpu() * 2));
}

TEST_F(Probe, CopiesFromPageLockedMemoryAreOrderedByMarks) {
  const c10::Stream copying = c10::impl::VirtualGuardImpl(device_.type()).getStreamFromGlobalPool(device_, false);
  const at::Tensor host = at::randn({1 << 20}).pin_memory();
  const at::Tensor there = at::zeros({1 << 20}, at::TensorOptions(device_));
  const device::Mark free = device::Mark::now(device_);
  device::Mark copied;
  {
    const c10::StreamGuard guard(copying);
    free.wait_on_stream();
    there.copy_(host, /*non_blocking=*/true);
    copied = device::Mark::now(device_);
  }
  copied.wait_on_stream();
  EXPECT_TRUE(same(there * 2, host * 2));
  EXPECT_TRUE(copied.reached());
}

}  // namespace
}  // namespace trireme::gpu

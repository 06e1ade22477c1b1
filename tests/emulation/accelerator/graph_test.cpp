#include <trireme/core/error.h>

#include "accelerator_test.h"

#include <functional>
#include <vector>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <torch/csrc/autograd/autograd.h>

namespace trireme::emulated {
namespace {

class Graphs : public AcceleratorTest {
 protected:
  void expect_refused(const std::string& what, const std::function<void()>& body) {
    SCOPED_TRACE(what);
    try {
      backend().make_graph(0)->record(body);
      ADD_FAILURE() << "was recorded";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::environment) << error.what();
    }
    EXPECT_EQ(at::ones({2}, device_).sum().item<float>(), 2) << "the device is usable";
  }
  c10::impl::VirtualGuardImpl guard_{device_type};
};

/// A model, its optimizer's state, and a batch, at fixed addresses.
struct Training {
  at::Tensor w1, w2, x, y, mean, square, steps, loss;

  explicit Training(c10::Device device) {
    at::Generator generator = at::detail::createCPUGenerator(5);
    w1 = at::randn({6, 8}, generator).to(device).requires_grad_();
    w2 = at::randn({8, 3}, generator).to(device).requires_grad_();
    x = at::randn({4, 6}, generator).to(device);
    y = at::randint(3, {4}, generator, at::kLong).to(device);
    mean = at::zeros_like(w1);
    square = at::zeros_like(w1);
    steps = at::zeros({}, device);
    loss = at::zeros({}, device);
    w1.mutable_grad() = at::zeros_like(w1);
    w2.mutable_grad() = at::zeros_like(w2);
  }
  void step() {
    const at::Tensor now = at::cross_entropy_loss(at::gelu(x.mm(w1), "tanh").mm(w2), y);
    now.backward();
    const c10::NoGradGuard no_grad;
    loss.copy_(now);
    steps.add_(1);
    at::_fused_adamw_({w1}, {w1.grad()}, {mean}, {square}, {}, {steps}, 1e-2, 0.9, 0.99, 0.1, 1e-8,
                      false, false);
    w2.sub_(w2.grad() * at::full({}, 0.1, w2.options()));
    w1.grad().zero_();
    w2.grad().zero_();
  }
  std::vector<at::Tensor> state() const {
    std::vector<at::Tensor> copies;
    for (const at::Tensor& tensor : {w1, w2, mean, square, steps, loss, w1.grad(), w2.grad()})
      copies.push_back(tensor.detach().cpu());
    return copies;
  }
};

void expect_equal(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i)
    EXPECT_TRUE(at::equal(a[i], b[i])) << i << ": " << a[i] << " and " << b[i];
}

TEST_F(Graphs, ReplaysAreStepsBitForBit) {
  Training eager(device_), repeated(device_);
  const auto graph = backend().make_graph(0);
  const auto before = repeated.state();
  graph->record([&] { repeated.step(); });
  expect_equal(repeated.state(), before);
  for (int i = 0; i < 5; ++i) {
    const at::Tensor batch = at::randn({4, 6});
    eager.x.copy_(batch);
    repeated.x.copy_(batch);
    eager.step();
    graph->replay();
    expect_equal(repeated.state(), eager.state());
  }
}

TEST_F(Graphs, ResultsLieWhereTheRecordingLeftThem) {
  const at::Tensor x = at::ones({4}, device_);
  at::Tensor y, places;
  const auto graph = backend().make_graph(0);
  graph->record([&] {
    y = (x * 2).sum();
    std::tie(std::ignore, places) = x.sort();  // a result that the device does not allocate itself
  });
  const void* address = y.data_ptr();
  graph->replay();
  EXPECT_EQ(y.item<float>(), 8);
  x.copy_(at::tensor({4.0F, 3.0F, 2.0F, 1.0F}));
  graph->replay();
  EXPECT_EQ(y.item<float>(), 20);
  EXPECT_TRUE(same_bits(places, at::tensor({3, 2, 1, 0}, at::kLong)));
  EXPECT_EQ(y.data_ptr(), address);
}

TEST_F(Graphs, ValuesOfTheHostAreFrozen) {
  const at::Tensor x = at::zeros({2}, device_), host = at::full({}, 3.0);
  double factor = 2;
  const auto graph = backend().make_graph(0);
  graph->record([&] { x.add_(host, factor); });
  factor = 100;
  host.fill_(100);
  graph->replay();
  EXPECT_TRUE(same_bits(x, at::full({2}, 6.0F)));
}

TEST_F(Graphs, PinnedMemoryIsReadAtEachReplay) {
  const at::Tensor x = at::zeros({2}, device_), in = at::ones({2}).pin_memory(),
                   out = at::zeros({2}).pin_memory();
  const auto graph = backend().make_graph(0);
  graph->record([&] {
    x.copy_(in, /*non_blocking=*/true);
    x.mul_(2);
    out.copy_(x, /*non_blocking=*/true);
  });
  EXPECT_EQ(out.sum().item<float>(), 0);
  in.fill_(5);
  graph->replay();
  EXPECT_EQ(out.sum().item<float>(), 20);
}

TEST_F(Graphs, RandomNumbersGoOn) {
  const at::Tensor x = at::zeros({8}, device_);
  at::Generator generator = at::globalContext().defaultGenerator(device_);
  generator.set_current_seed(1);
  const auto graph = backend().make_graph(0);
  graph->record([&] { x.normal_(); });
  graph->replay();
  const at::Tensor first = x.clone();
  graph->replay();
  const at::Tensor second = x.clone();
  EXPECT_FALSE(at::equal(first, second));
  generator.set_current_seed(1);
  EXPECT_TRUE(at::equal(x.normal_(), first));
  EXPECT_TRUE(at::equal(x.normal_(), second));
}

TEST_F(Graphs, WhatTheHostWouldWaitForIsRefused) {
  const at::Tensor x = at::ones({4}, device_), pageable = at::ones({4}),
                   pinned = pageable.pin_memory();
  expect_refused("item", [&] { static_cast<void>(x.sum().item()); });
  expect_refused("cpu", [&] { static_cast<void>(x.cpu()); });
  expect_refused("equal", [&] { static_cast<void>(at::equal(x, x)); });
  expect_refused("nonzero", [&] { static_cast<void>((x > 0).nonzero()); });
  expect_refused("pageable memory", [&] { x.copy_(pageable, /*non_blocking=*/true); });
  expect_refused("a blocking copy", [&] { x.copy_(pinned); });
  expect_refused("a factory from the host", [&] {
    static_cast<void>(at::tensor({1.0F, 2.0F}).to(device_));
  });
  expect_refused("stream", [&] { guard_.getStream(device_).synchronize(); });
  expect_refused("item in backward", [&] {
    const at::Tensor w = at::ones({2}, device_).requires_grad_();
    const at::Tensor y = w * 2;
    y.register_hook([](const at::Tensor& gradient) { static_cast<void>(gradient.sum().item()); });
    y.sum().backward();
  });
}

TEST_F(Graphs, ChangesOfARefusedRecordingAreUndone) {
  const at::Tensor x = at::ones({4}, device_);
  expect_refused("item", [&] {
    x.mul_(2);
    static_cast<void>(x.sum().item());
  });
  EXPECT_TRUE(same_bits(x, at::ones({4})));
}

TEST_F(Graphs, OtherStreamsAreRecordedIfTheyWaitAndAreWaitedFor) {
  const at::Tensor x = at::ones({4}, device_), other = at::ones({4}, device_);
  const c10::Stream mine = guard_.getStream(device_),
                    side = guard_.getStreamFromGlobalPool(device_);
  const auto fork = [&] {
    c10::Event event(device_type);
    event.record(mine);
    event.block(side);
    const c10::StreamGuard scope(side);
    x.add_(1);
  };
  const auto join = [&] {
    c10::Event event(device_type);
    event.record(side);
    event.block(mine);
  };
  const auto graph = backend().make_graph(0);
  graph->record([&] {
    fork();
    join();
    x.mul_(2);
  });
  graph->replay();
  EXPECT_TRUE(same_bits(x, at::full({4}, 4.0F)));
  expect_refused("a stream that is not waited for", fork);
  const auto second = backend().make_graph(0);
  second->record([&] {
    const c10::StreamGuard scope(side);
    other.add_(1);  // at once: nothing ties the stream to the recording
  });
  EXPECT_TRUE(same_bits(other, at::full({4}, 2.0F)));
  expect_refused("an event from outside", [&] {
    c10::Event event(device_type);
    event.record(side);
    event.block(mine);
  });
}

TEST_F(Graphs, TheDefaultStreamIsNotRecorded) {
  const c10::StreamGuard scope(guard_.getDefaultStream(device_));
  expect_refused("default", [] {});
}

TEST_F(Graphs, FreedMemoryIsNoticed) {
  at::Tensor x = at::ones({4}, device_);
  const auto graph = backend().make_graph(0);
  graph->record([&] { x.add_(1); });
  graph->replay();
  x = at::Tensor();
  EXPECT_THROW(graph->replay(), Error);
}

TEST_F(Graphs, KeepTheirMemory) {
  const at::Tensor x = at::ones({1000}, device_);
  const int64_t before = graph_bytes();
  {
    const auto graph = backend().make_graph(0);
    graph->record([&] { static_cast<void>(x * 2 + 1); });
    EXPECT_EQ(graph_bytes(), before + 8000);
  }
  EXPECT_EQ(graph_bytes(), before);
}

}  // namespace
}  // namespace trireme::emulated

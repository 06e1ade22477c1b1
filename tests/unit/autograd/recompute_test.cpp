#include <trireme/autograd/backward.h>
#include <trireme/autograd/hooks.h>
#include <trireme/autograd/recompute.h>
#include <trireme/core/error.h>
#include <trireme/telemetry/memory.h>

#include "unit/autograd/residual_stack.h"

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

using testing::HasSubstr;
using Tensors = std::vector<at::Tensor>;

at::Tensor some_input() {
  at::manual_seed(5);
  return at::randn({6, 8, 16});
}

class Bf16Autocast {
 public:
  Bf16Autocast() {
    at::autocast::set_autocast_dtype(at::kCPU, at::kBFloat16);
    at::autocast::set_autocast_enabled(at::kCPU, true);
    at::autocast::increment_nesting();
  }
  ~Bf16Autocast() {
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(at::kCPU, false);
  }
};

struct Recompute : testing::Test {
  Recompute() { install_engine(); }

  /// The Error of backward, which there must be.
  static std::optional<Error> failure_of(const at::Tensor& loss) {
    try {
      backward(loss);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "nothing thrown";
    return std::nullopt;
  }
  static void expect_failure(const at::Tensor& loss, const std::string& text) {
    const auto error = failure_of(loss);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->kind(), ErrorKind::plugin_failed);
    EXPECT_THAT(error->message(), HasSubstr("'h.3'"));
    EXPECT_THAT(error->message(), HasSubstr(text));
    EXPECT_FALSE(error->hint().empty());
  }
};

TEST_F(Recompute, GradientsAreBitEqualAndEachRegionIsComputedOnceMore) {
  ResidualStack stack(4, 16);
  const at::Tensor x = some_input();
  backward(stack.plain(x).square().sum());
  const Tensors expected = stack.take_gradients();
  stack.begun = stack.ended = 0;
  const at::Tensor loss = stack.recomputed(x).square().sum();
  EXPECT_EQ(stack.begun, 4);
  backward(loss);
  EXPECT_TRUE(bit_equal(stack.take_gradients(), expected));
  EXPECT_EQ(stack.begun, 8);
  EXPECT_EQ(stack.ended, 4) << "the last product saves only what comes before it";
}

TEST_F(Recompute, DropoutDrawsTheSameAgainAndLeavesTheGeneratorWhereItWas) {
  ResidualStack stack(4, 16, 0.3);
  const at::Tensor x = some_input();
  at::manual_seed(1);
  backward(stack.plain(x).square().sum());
  const Tensors expected = stack.take_gradients();
  const at::Tensor next = at::randn({3});
  at::manual_seed(1);
  backward(stack.recomputed(x).square().sum());
  EXPECT_TRUE(bit_equal(stack.take_gradients(), expected));
  EXPECT_TRUE(at::equal(at::randn({3}), next));
}

TEST_F(Recompute, UnderAutocastTheSecondTimeIsAutocastToo) {
  ResidualStack stack(3, 16);
  const at::Tensor x = some_input();
  Tensors expected;
  for (const bool recompute : {false, true}) {
    at::Tensor loss;
    {
      const Bf16Autocast autocast;
      const at::Tensor y = recompute ? stack.recomputed(x) : stack.plain(x);
      loss = y.to(at::kFloat).square().sum();
    }
    backward(loss);
    EXPECT_FALSE(at::autocast::is_autocast_enabled(at::kCPU));
    EXPECT_TRUE(at::autocast::is_autocast_cache_enabled());
    const Tensors gradients = stack.take_gradients();
    if (recompute)
      EXPECT_TRUE(bit_equal(gradients, expected));
    else
      expected = gradients;
  }
}

TEST_F(Recompute, AutocastAroundTheBackwardAloneDoesNotReachTheRegion) {
  ResidualStack stack(2, 16);
  const at::Tensor x = some_input();
  backward(stack.plain(x).square().sum());
  const Tensors expected = stack.take_gradients();
  const at::Tensor loss = stack.recomputed(x).square().sum();
  const Bf16Autocast autocast;
  backward(loss);
  // The backward itself may round; a recomputation in bfloat16 would have saved other types.
  EXPECT_LT(relative_difference(stack.take_gradients(), expected), 0.05);
}

TEST_F(Recompute, NestedRegionsAreRight) {
  ResidualStack stack(4, 16, 0.2);
  const at::Tensor x = some_input();
  const auto nested = [&](bool recompute) {
    const auto call = [&](const RegionForward& forward, const at::Tensor& input) {
      return recompute ? recomputed("inner", forward, {input})[0] : forward({input})[0];
    };
    const auto half = [&](size_t first) -> RegionForward {
      return [&, first](const Tensors& in) -> Tensors {
        return {call(stack.block(first + 1), at::sin(call(stack.block(first), in[0])))};
      };
    };
    const RegionForward whole = [&](const Tensors& in) -> Tensors {
      return {call(half(2), call(half(0), in[0]))};
    };
    at::manual_seed(2);
    const at::Tensor loss = call(whole, x).square().sum();
    stack.begun = 0;
    backward(loss);
    return stack.take_gradients();
  };
  const Tensors expected = nested(false);
  EXPECT_TRUE(bit_equal(nested(true), expected));
  // The whole up to the second half's input: 2 blocks. A half up to its second block's input: 1
  // each. A block: 1 each.
  EXPECT_EQ(stack.begun, 2 + 2 * 1 + 4 * 1);
}

TEST_F(Recompute, ThePeakFallsBelowHalf) {
  telemetry::install_counting_allocator();
  ResidualStack stack(8, 32);
  const at::Tensor x = at::randn({64, 32, 32});
  const auto peak_of = [&](bool recompute) {
    (void)stack.take_gradients();
    const telemetry::MemoryScope memory;
    backward((recompute ? stack.recomputed(x) : stack.plain(x)).square().sum());
    return memory.peak();
  };
  const int64_t plain = peak_of(false), less = peak_of(true);
  EXPECT_LT(2 * less, plain) << less << " of " << plain;
}

TEST_F(Recompute, NothingIsKeptAfterBackward) {
  telemetry::install_counting_allocator();
  const at::Tensor x = at::randn({1000}).requires_grad_(true);
  x.mutable_grad() = at::zeros({1000});
  const auto token = std::make_shared<int>(0);
  const int64_t before = telemetry::allocated_bytes();
  at::Tensor y =
      recomputed("h.3", [token](const Tensors& in) -> Tensors { return {at::exp(at::sin(in[0]))}; },
                 {x * 2})[0];
  EXPECT_GT(token.use_count(), 1);
  backward(y.sum());
  EXPECT_EQ(token.use_count(), 1);  // while the graph still lives
  y.reset();
  EXPECT_EQ(telemetry::allocated_bytes(), before);
}

TEST_F(Recompute, WithoutGradientsItIsJustTheForward) {
  ResidualStack stack(2, 16);
  const at::NoGradGuard no_grad;
  const at::Tensor x = some_input();
  EXPECT_TRUE(at::equal(stack.recomputed(x), stack.plain(x)));
  EXPECT_FALSE(stack.recomputed(x).requires_grad());
  EXPECT_EQ(stack.begun, 6);
}

TEST_F(Recompute, InputsMayBeUndefinedOrIntegersAndOutputsWithoutGrad) {
  at::Tensor table = at::randn({10, 4}).requires_grad_(true);
  const at::Tensor rows = at::arange(6);
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    EXPECT_FALSE(in[1].defined());
    const at::Tensor y = at::embedding(table, in[0]);
    return {at::sin(y), in[0] + 1, at::Tensor()};
  };
  backward(forward({rows, {}})[0].sum());
  const at::Tensor expected = table.grad().clone();
  table.mutable_grad().reset();
  const Tensors outputs = recomputed("h.3", forward, {rows, {}});
  EXPECT_FALSE(outputs[1].requires_grad());
  EXPECT_FALSE(outputs[2].defined());
  backward(outputs[0].sum());
  EXPECT_TRUE(at::equal(table.grad(), expected));
}

TEST_F(Recompute, ParametersAreKeptAsTheyAre) {
  ResidualStack stack(1, 16);
  const at::Tensor loss = stack.recomputed(some_input()).square().sum();
  {
    const at::NoGradGuard no_grad;  // as when a shard is gathered anew
    stack.weight(0).add_(0);
  }
  backward(loss);
  EXPECT_TRUE(stack.weight(0).grad().defined());

  const at::Tensor w = at::ones({4}).requires_grad_(true);
  const RegionForward forward = [](const Tensors& in) -> Tensors {
    return {at::sin(in[0] * 2)};
  };
  const at::Tensor y = recomputed("h.3", forward, {w})[0].sum();
  {
    const at::NoGradGuard no_grad;
    w.add_(0);
  }
  backward(y);
  EXPECT_TRUE(w.grad().defined());
}

TEST_F(Recompute, AParameterMayBeAnInputAndFeedARegionInside) {
  const at::Tensor w = at::randn({4, 4}).requires_grad_(true), x = at::randn({3, 4});
  const RegionForward inner = [](const Tensors& in) -> Tensors {
    return {at::tanh(at::linear(in[0], in[1])) * in[0]};
  };
  const RegionForward outer = [&](const Tensors& in) -> Tensors {
    const Tensors first = recomputed("inner", inner, {at::sin(in[0]), in[1]});
    return recomputed("inner", inner, {first[0], in[1].t()});
  };
  const RegionForward plain = [&](const Tensors& in) -> Tensors {
    return inner({inner({at::sin(in[0]), in[1]})[0], in[1].t()});
  };
  backward(plain({x, w})[0].sum());
  const at::Tensor expected = w.grad().clone();
  w.mutable_grad().reset();
  backward(recomputed("outer", outer, {x, w})[0].sum());
  EXPECT_TRUE(at::equal(w.grad(), expected));
}

TEST_F(Recompute, AnInputChangedInPlaceIsRefused) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  at::Tensor h = x * 2;
  const at::Tensor y =
      recomputed("h.3", [](const Tensors& in) -> Tensors { return {at::sin(in[0])}; }, {h})[0];
  {
    const at::NoGradGuard no_grad;
    h.add_(1);
  }
  expect_failure(y.sum(), "changed in place");
}

TEST_F(Recompute, AnInputThatTheRegionItselfChangesIsRefused) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  const RegionForward forward = [](const Tensors& in) -> Tensors {
    at::Tensor h = in[0];
    h.mul_(2);
    return {at::sin(h)};
  };
  expect_failure(recomputed("h.3", forward, {x * 2})[0].sum(), "changed in place");
}

TEST_F(Recompute, AChangeInPlaceOfWhatBackwardNeedsIsFoundAsWithoutRecomputation) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  const RegionForward forward = [](const Tensors& in) -> Tensors {
    at::Tensor h = at::tanh(in[0]);
    h.add_(1);
    return {h * h};
  };
  EXPECT_ANY_THROW(backward(forward({x})[0].sum()));
  expect_failure(recomputed("h.3", forward, {x})[0].sum(), "in place");
}

struct NotTwiceTheSame {
  std::string name, message;
  std::function<at::Tensor(const at::Tensor& x, bool second)> forward;
};
class RecomputeMismatch : public Recompute, public testing::WithParamInterface<NotTwiceTheSame> {};

TEST_P(RecomputeMismatch, NamesTheRegion) {
  bool second = false;
  const at::Tensor x = at::rand({4, 4}).requires_grad_(true);
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    return {GetParam().forward(in[0], std::exchange(second, true))};
  };
  expect_failure(recomputed("h.3", forward, {x * 2})[0].sum(), GetParam().message);
}

const at::Tensor& weight(bool other) {
  static const at::Tensor one = at::eye(4).requires_grad_(true),
                          two = at::eye(4).requires_grad_(true);
  return other ? two : one;
}

INSTANTIATE_TEST_SUITE_P(
    All, RecomputeMismatch,
    testing::Values(NotTwiceTheSame{"Fewer", "saves 1 tensors, the first time there were 2",
                                    [](const at::Tensor& x, bool second) {
                                      const at::Tensor y = at::sin(x);
                                      return second ? y : at::sin(y);
                                    }},
                    NotTwiceTheSame{"MoreBefore", "another number of operations",
                                    [](const at::Tensor& x, bool second) {
                                      return at::sin(second ? at::neg(x) : x);
                                    }},
                    NotTwiceTheSame{
                        "Shape",
                        "saved tensor 0 is Float [2, 4], the first time it was Float [4, 4]",
                        [](const at::Tensor& x, bool second) {
                          return at::sin(second ? x.narrow(0, 0, 2) : x);
                        }},
                    NotTwiceTheSame{"Type", "saved tensor 0 is Double [4, 4]",
                                    [](const at::Tensor& x, bool second) {
                                      return at::sin(second ? x.to(at::kDouble) : x);
                                    }},
                    NotTwiceTheSame{"Parameter", "not the parameter",
                                    [](const at::Tensor& x, bool second) {
                                      return at::sin(at::linear(x, weight(second)));
                                    }}),
    [](const auto& instance) { return instance.param.name; });

TEST_F(Recompute, WhatTheSecondTimeThrowsReachesTheCallerAndStateIsPutBack) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  int calls = 0;
  bool fail = true;
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    const at::Tensor y = at::dropout(at::sin(in[0]), 0.5, true);
    if (++calls > 1 && fail) throw std::domain_error("of the plugin");
    return {at::sin(y)};
  };
  at::manual_seed(3);
  const at::Tensor y = recomputed("h.3", forward, {x})[0];
  const at::Tensor state = at::globalContext().defaultGenerator(at::kCPU).get_state();
  EXPECT_THROW(backward(y.sum()), std::domain_error);
  EXPECT_FALSE(recomputing());
  EXPECT_TRUE(at::equal(at::globalContext().defaultGenerator(at::kCPU).get_state(), state));
  fail = false;
  at::manual_seed(3);
  backward(recomputed("h.3", forward, {x})[0].sum());
  EXPECT_TRUE(x.grad().defined());
}

TEST_F(Recompute, AForwardThatCatchesEverythingIsStillRight) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  for (const bool go_on : {false, true}) {
    const RegionForward forward = [go_on](const Tensors& in) -> Tensors {
      at::Tensor y = at::sin(in[0]);
      try {
        y = at::cos(y);
      } catch (...) {
        if (!go_on) throw std::runtime_error("the cosine failed");
        y = at::tanh(at::sin(y));
      }
      return {y};
    };
    const at::Tensor expected = torch::autograd::grad({forward({x})[0].sum()}, {x})[0];
    const at::Tensor y = recomputed("h.3", forward, {x})[0].sum();
    EXPECT_TRUE(at::equal(torch::autograd::grad({y}, {x})[0], expected));
  }
}

TEST_F(Recompute, ABackwardInsideOfARegionIsRefused) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  const RegionForward forward = [](const Tensors& in) -> Tensors {
    const at::Tensor y = at::sin(in[0] * 2).sum();
    backward(y);
    return {y};
  };
  try {
    (void)recomputed("h.3", forward, {x});
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
    EXPECT_THAT(error.message(), HasSubstr("'h.3' runs a backward"));
  }
}

TEST_F(Recompute, ARetainedGraphIsNotComputedAgain) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  const at::Tensor h = x * 1;
  const auto token = std::make_shared<int>(0);
  const RegionForward forward = [token](const Tensors& in) -> Tensors {
    EXPECT_EQ(recomputing(), (*token)++ > 0);
    return {at::exp(at::sin(in[0] + 1))};
  };
  const at::Tensor y = recomputed("h.3", forward, {h})[0].sum();
  EXPECT_EQ(token.use_count(), 3);
  EXPECT_EQ(h.storage().use_count(), 2);
  const at::Tensor first = torch::autograd::grad({y}, {x}, {}, true)[0];
  EXPECT_EQ(token.use_count(), 2) << "what the region does not need any more is freed";
  EXPECT_EQ(h.storage().use_count(), 1);
  const at::Tensor second = torch::autograd::grad({y}, {x})[0];
  EXPECT_TRUE(at::equal(first, second));
  EXPECT_EQ(*token, 2);
}

TEST_F(Recompute, AfterAFailureAnotherBackwardTriesAgain) {
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  bool fail = false;
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    const at::Tensor y = at::sin(in[0]);
    if (fail) throw std::domain_error("of the plugin");
    return {at::sin(y)};
  };
  const at::Tensor y = recomputed("h.3", forward, {x * 1})[0].sum();
  fail = true;
  EXPECT_THROW((void)torch::autograd::grad({y}, {x}, {}, true), std::domain_error);
  fail = false;
  EXPECT_TRUE(torch::autograd::grad({y}, {x})[0].defined());
}

TEST_F(Recompute, WhatBackwardHasUsedIsFreed) {
  telemetry::install_counting_allocator();
  constexpr int64_t elements = 100000, steps = 8;
  std::vector<at::Tensor> factors;
  for (int64_t i = 0; i < steps; ++i) {
    factors.push_back(at::ones({1}).requires_grad_(true));
    factors.back().mutable_grad() = at::zeros({1});
  }
  int64_t first = 0, last = 0;
  const auto at_first = on_gradient_accumulated(
      factors.back(), [&](const at::Tensor&) { first = telemetry::allocated_bytes(); });
  const auto at_last = on_gradient_accumulated(
      factors[1], [&](const at::Tensor&) { last = telemetry::allocated_bytes(); });
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    at::Tensor h = in[0];
    for (const at::Tensor& factor : factors) h = at::tanh(h * factor);
    return {h};
  };
  backward(recomputed("h.3", forward, {at::randn({elements})})[0].sum());
  EXPECT_GT(first - last, (steps - 3) * elements * 4);
}

TEST_F(Recompute, APartThatTheForwardForgetsIsNotCollected) {
  // The forward keeps a branch of its graph until its next call, as for a display.
  const at::Tensor x = at::randn({8}).requires_grad_(true);
  at::Tensor shown;
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    const at::Tensor y = at::sin(in[0]);
    shown = at::exp(y);
    return {at::cos(y)};
  };
  backward(at::cos(at::sin(x)).sum());
  const at::Tensor expected = x.grad().clone();
  x.mutable_grad().reset();
  backward(recomputed("h.3", forward, {x * 1})[0].sum());
  EXPECT_TRUE(at::equal(x.grad(), expected));
  EXPECT_THROW(backward(shown.sum()), Error) << "its graph is that of the second time";
}

TEST_F(Recompute, TwoThreadsMayWantOneRegion) {
  const at::Tensor a = at::randn({64}).requires_grad_(true),
                   b = at::randn({64}).requires_grad_(true);
  std::atomic<int> calls = 0;
  const RegionForward forward = [&](const Tensors& in) -> Tensors {
    ++calls;
    return {at::exp(at::sin(in[0])), at::exp(at::sin(in[1]))};
  };
  const Tensors y = recomputed("h.3", forward, {a, b});
  std::latch start(2);
  const auto run = [&](const at::Tensor& output) {
    start.arrive_and_wait();
    backward(output.sum());
  };
  std::thread other(run, y[1]);
  run(y[0]);
  other.join();
  EXPECT_EQ(calls, 2);
  const auto slope = [](const at::Tensor& x) {
    return x.detach().cos() * x.detach().sin().exp();
  };
  EXPECT_TRUE(at::allclose(a.grad(), slope(a)));
  EXPECT_TRUE(at::allclose(b.grad(), slope(b)));
}

}  // namespace
}  // namespace trireme::autograd

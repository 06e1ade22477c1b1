#include <trireme/autograd/backward.h>
#include <trireme/autograd/hooks.h>
#include <trireme/core/error.h>

#include <optional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

using testing::ElementsAre;

at::Tensor leaf(double value) {
  return at::full({2}, value).requires_grad_(true);
}

struct HooksTest : testing::Test {
  std::vector<std::string> log;
  std::function<void(const at::Tensor&)> note(const std::string& text) {
    return [this, text](const at::Tensor&) {
      log.push_back(text);
    };
  }
};

TEST_F(HooksTest, SeveralCallbacksRunInOrderOfRegistrationWithTheGradientThere) {
  at::Tensor p = leaf(2.0);
  double seen = 0;
  const auto a = on_gradient_accumulated(p, note("a"));
  const auto b = on_gradient_accumulated(p, [&](const at::Tensor& parameter) {
    log.push_back("b");
    seen = parameter.grad().sum().item<double>();
    EXPECT_FALSE(at::GradMode::is_enabled());
  });
  backward((p * p).sum());
  EXPECT_THAT(log, ElementsAre("a", "b"));
  EXPECT_DOUBLE_EQ(seen, 8.0);
}

TEST_F(HooksTest, FiresOnceForAParameterUsedTwiceAndNeverForAnUnusedOne) {
  at::Tensor p = leaf(2.0), unused = leaf(1.0);
  const auto a = on_gradient_accumulated(p, note("used"));
  const auto b = on_gradient_accumulated(unused, note("unused"));
  backward((p * 2 + p).sum());
  EXPECT_THAT(log, ElementsAre("used"));
  backward((p * 2).sum());
  EXPECT_THAT(log, ElementsAre("used", "used"));
  EXPECT_FALSE(unused.grad().defined());
}

TEST_F(HooksTest, LaterLayersComeFirstAndTheFinalCallbackLast) {
  at::Tensor first = leaf(1.0), second = leaf(1.0);
  const auto a = on_gradient_accumulated(first, note("first"));
  const auto b = on_gradient_accumulated(second, [&](const at::Tensor&) {
    log.push_back("second");
    queue_final_callback([&] { log.push_back("final"); });
  });
  backward((at::tanh(first) * second).sum());
  EXPECT_THAT(log, ElementsAre("second", "first", "final"));
}

TEST_F(HooksTest, RemovedCallbacksDoNotRun) {
  at::Tensor p = leaf(1.0);
  std::optional<GradientHook> a = on_gradient_accumulated(p, note("a"));
  GradientHook b = on_gradient_accumulated(p, note("b"));
  GradientHook moved = std::move(b);
  EXPECT_FALSE(b.active());
  EXPECT_TRUE(moved.active());
  a.reset();
  backward(p.sum());
  EXPECT_THAT(log, ElementsAre("b"));
  moved.remove();
  backward(p.sum());
  EXPECT_THAT(log, ElementsAre("b"));
}

TEST_F(HooksTest, ACallbackMayRemoveAnotherAndItself) {
  at::Tensor p = leaf(1.0);
  GradientHook first, second;
  first = on_gradient_accumulated(p, [&](const at::Tensor&) {
    log.push_back("first");
    second.remove();
    first.remove();
  });
  second = on_gradient_accumulated(p, note("second"));
  backward(p.sum());
  backward(p.sum());
  EXPECT_THAT(log, ElementsAre("first"));
}

TEST_F(HooksTest, AHandleMayOutliveItsTensor) {
  GradientHook hook;
  {
    at::Tensor p = leaf(1.0);
    hook = on_gradient_accumulated(p, note("a"));
  }
  hook.remove();
  EXPECT_FALSE(hook.active());
}

TEST_F(HooksTest, ExceptionsKeepTheirTypeAndTheNextBackwardWorks) {
  at::Tensor p = leaf(1.0);
  bool fail = true;
  const auto hook = on_gradient_accumulated(p, [&](const at::Tensor&) {
    if (fail) throw Error(ErrorKind::peer_lost, "rank 3 is gone");
    log.push_back("ok");
  });
  try {
    backward(p.sum());
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::peer_lost);
    EXPECT_EQ(error.message(), "rank 3 is gone");
  }
  fail = false;
  backward(p.sum());
  EXPECT_THAT(log, ElementsAre("ok"));
}

TEST_F(HooksTest, OnlyLeavesThatRequireGradTakeHooks) {
  EXPECT_ANY_THROW((void)on_gradient_accumulated(at::ones({2}), note("a")));
  EXPECT_ANY_THROW((void)on_gradient_accumulated(leaf(1.0) * 2, note("a")));
}

TEST(Backward, ScalesAndAccumulates) {
  at::Tensor p = leaf(3.0);
  backward((p * 2).sum(), 0.5);
  EXPECT_TRUE(at::equal(p.grad(), at::ones({2})));
  backward((p * 2).sum(), at::scalar_tensor(4.0));
  EXPECT_TRUE(at::equal(p.grad(), at::full({2}, 9.0)));
}

TEST(Backward, RefusesWhatHasNoGradient) {
  EXPECT_ANY_THROW(backward(at::ones({})));
  EXPECT_ANY_THROW(backward(leaf(1.0) * 2));
}

TEST(Backward, FinalCallbacksBelongInsideABackward) {
  EXPECT_ANY_THROW(queue_final_callback([] {}));
}

}  // namespace
}  // namespace trireme::autograd

#include <trireme/autograd/backward.h>
#include <trireme/autograd/recompute.h>
#include <trireme/autograd/unit.h>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

// An activation function and the product that keeps its result.
class Half final : public Block {
 public:
  Half(const BuildContext& context, int& computed) : Block(context), computed_(computed) {
    weight_ = parameter_uniform("weight", {8, 8}, -0.5, 0.5);
  }
  std::vector<at::Tensor> forward(const std::vector<at::Tensor>& inputs) override {
    return {cheap_part(
        "gelu",
        [this](const at::Tensor& x) {
          ++computed_;
          return at::mm(at::gelu(x), weight_);
        },
        inputs[0])};
  }

 private:
  int& computed_;
  at::Tensor weight_;
};

struct Outcome {
  at::Tensor gradient;
  int computed = 0;
};

Outcome run(Unit::Activations::Recompute recompute) {
  Outcome outcome;
  Unit unit("half", [&](const BuildContext& context) {
    return std::make_unique<Half>(context, outcome.computed);
  });
  unit.build({.random = core::RandomKey(1)});
  unit.set_activations({.recompute = recompute});
  const at::Tensor x = at::sin(at::arange(32, at::kFloat)).reshape({4, 8}).requires_grad_();
  backward(unit(x).square().sum());
  outcome.gradient = x.grad();
  return outcome;
}

TEST(CheapPart, IsComputedAgainWhereItIsSelected) {
  using Recompute = Unit::Activations::Recompute;
  const Outcome plain = run(Recompute::none);
  EXPECT_EQ(plain.computed, 1);
  for (const Recompute recompute : {Recompute::cheap_parts, Recompute::all}) {
    const Outcome again = run(recompute);
    EXPECT_EQ(again.computed, 2);
    EXPECT_TRUE(at::equal(again.gradient, plain.gradient));
  }
}

TEST(CheapPart, ScopesNestAndEnd) {
  int computed = 0;
  const auto count = [&](const at::Tensor& x) {
    ++computed;
    return at::exp(at::sin(x));
  };
  const at::Tensor x = at::ones({4}).requires_grad_();
  {
    const SelectiveScope on(true);
    const SelectiveScope off(false);
    backward(cheap_part("part", count, x).sum());
  }
  EXPECT_EQ(computed, 1);
  at::Tensor y;
  {
    const SelectiveScope on(true);
    y = cheap_part("part", count, x);
  }
  backward(y.sum());
  EXPECT_EQ(computed, 3);
}

}  // namespace
}  // namespace trireme::autograd

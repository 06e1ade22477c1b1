#include <trireme/core/error.h>
#include <trireme/debug/gradient_check.h>

#include "unit/debug/training.h"

#include <torch/csrc/autograd/custom_function.h>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::HasSubstr;

/// x^3, whose backward is right up to `factor`.
struct Cube final : torch::autograd::Function<Cube> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            double factor) {
    context->save_for_backward({x});
    context->saved_data["factor"] = factor;
    return x * x * x;
  }
  static Tensors backward(torch::autograd::AutogradContext* context, const Tensors& gradients) {
    const at::Tensor x = context->get_saved_variables()[0];
    return {gradients[0] * 3 * x * x * context->saved_data["factor"].toDouble(), at::Tensor()};
  }
};

TEST(GradientCheck, PassesARightModel) {
  Chain chain(3, 0.5, at::kDouble);
  chain.then["h.1"] = [](const at::Tensor& y) {
    return Cube::apply(y, 1.0);
  };
  const core::ParameterSet parameters = chain.parameters();
  std::vector<at::Tensor> before;
  for (const core::Parameter& p : parameters) before.push_back(p.tensor.detach().clone());
  parameters[0].tensor.mutable_grad() = at::ones({6, 6}, at::kDouble);
  const at::Tensor gradient = parameters[0].tensor.grad();
  const GradientCheck check =
      check_gradients([&] { return chain.loss(chain_input(4, at::kDouble)); }, parameters);
  EXPECT_TRUE(check.passed()) << check.text();
  ASSERT_EQ(check.parameters.size(), 6U);
  EXPECT_EQ(check.parameters[0].checked, 8);
  EXPECT_EQ(check.parameters[1].checked, 6);  // all of a small one
  EXPECT_THAT(check.text(), HasSubstr("42 elements of 6 parameters"));
  // All is as it was.
  for (size_t i = 0; i < before.size(); ++i)
    EXPECT_TRUE(at::equal(before[i], parameters[i].tensor));
  EXPECT_TRUE(parameters[0].tensor.grad().is_same(gradient));
  EXPECT_TRUE(at::equal(gradient, at::ones({6, 6}, at::kDouble)));
  EXPECT_FALSE(parameters[1].tensor.grad().defined());
}

TEST(GradientCheck, NamesWhatAWrongBackwardSpoils) {
  Chain chain(3, 0.5, at::kDouble);
  chain.then["h.0"] = [](const at::Tensor& y) {
    return Cube::apply(y, 1.01);
  };
  const GradientCheck check =
      check_gradients([&] { return chain.loss(chain_input(4, at::kDouble)); }, chain.parameters());
  EXPECT_FALSE(check.passed());
  EXPECT_THAT(check.parameters[check.worst].parameter, HasSubstr("h.0."));
  EXPECT_NEAR(check.parameters[check.worst].error, 0.01, 1e-3);
  EXPECT_LT(check.parameters[2].error, 1e-5);  // behind it
  EXPECT_THAT(check.text(), HasSubstr("are WRONG: worst is element"));
}

TEST(GradientCheck, TakesFloat32WithItsTolerance) {
  const core::ParameterSet parameters{{"w", at::tensor({0.5F, -1.0F, 2.0F}).requires_grad_()}};
  const auto loss = [&](double factor) {
    return [&parameters, factor] {
      return Cube::apply(parameters[0].tensor, factor).sum();
    };
  };
  const GradientCheckOptions options{.tolerance = 1e-2};
  EXPECT_TRUE(check_gradients(loss(1.0), parameters, options).passed());
  EXPECT_FALSE(check_gradients(loss(1.1), parameters, options).passed());
}

TEST(GradientCheck, UnusedParametersHaveNone) {
  const core::ParameterSet parameters{{"w", at::ones({2}, at::kDouble).requires_grad_()},
                                      {"idle", at::ones({2}, at::kDouble).requires_grad_()}};
  const GradientCheck check =
      check_gradients([&] { return parameters[0].tensor.square().sum(); }, parameters);
  EXPECT_TRUE(check.passed());
  EXPECT_EQ(check.parameters[1].by_backward, 0);
}

TEST(GradientCheck, RefusesALossThatIsNotAFunction) {
  const core::ParameterSet parameters{{"w", at::ones({2}, at::kDouble).requires_grad_()}};
  double count = 0;
  try {
    (void)check_gradients([&] { return parameters[0].tensor.sum() * ++count; }, parameters);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
    EXPECT_THAT(error.message(), HasSubstr("two calls gave 2 and 4"));
  }
  EXPECT_FALSE(parameters[0].tensor.grad().defined());
}

}  // namespace
}  // namespace trireme::debug

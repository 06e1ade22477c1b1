#include "unit/debug/training.h"

#include <cmath>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(ForwardPass, RecordsWhatGoesInAndOut) {
  Chain chain;
  Training run(chain);
  run.on(Switch::forward_pass);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  const double sum = run.run(Training::Step{.losses = {loss, loss}}).item<double>();
  const std::vector<json> calls = run.notes.of("unit", "h.1");
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[1]["micro_step"], 1);
  EXPECT_EQ(calls[0]["inputs"][0],
            (json{{"shape", {4, 6}}, {"dtype", "float32"}, {"device", "cpu"}}));
  const json output = calls[0]["outputs"][0];
  EXPECT_EQ(output["shape"], (json{4, 6}));
  EXPECT_LE(output["max"].get<double>(), 1);
  EXPECT_GE(output["min"].get<double>(), -1);
  EXPECT_GT(output["std"].get<double>(), 0);
  const std::vector<json> losses = run.notes.with("loss_sum");
  ASSERT_EQ(losses.size(), 2U);
  EXPECT_NEAR(losses[1]["loss"].get<double>(), sum / 8, 1e-5);
  const json digest = run.digest();
  EXPECT_EQ(digest["calls"], 6);
  EXPECT_TRUE(digest["first_not_finite"].is_null());
  EXPECT_NEAR(digest["loss"].get<double>(), sum / 8, 1e-5);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_TRUE(run.tools[0]->needs_eager_steps());
}

TEST(ForwardPass, NamesTheFirstUnitThatIsNotFinite) {
  Chain chain(4);
  Training run(chain);
  run.on(Switch::forward_pass);
  chain.then["h.1"] = [](const at::Tensor& y) {
    return at::log(y.abs() - y.abs());
  };
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("output 0 of unit 'h.1' is the first")));
  EXPECT_THAT(run.notes.findings[0],
              HasSubstr("0 NaN and 24 Inf of 24; its parameters are finite"));
  EXPECT_EQ(run.digest()["first_not_finite"]["unit"], "h.1");
}

TEST(ForwardPass, ListsUnitsWhoseOutputIsZeroEverywhere) {
  Chain chain(4);
  Training run(chain);
  run.on(Switch::forward_pass);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  run.run(loss);
  EXPECT_EQ(run.digest()["zero"], json::array());
  chain.then["h.2"] = [](const at::Tensor& y) {
    return y * 0;
  };
  run.run(loss);
  EXPECT_EQ(run.digest()["zero"], json::array({"h.2"}));
  EXPECT_THAT(run.notes.findings, IsEmpty());
}

TEST(ForwardPass, NamesTheParameterThatSpoilsTheUnit) {
  Chain chain;
  Training run(chain);
  run.on(Switch::forward_pass);
  {
    const at::NoGradGuard no_grad;
    chain.parameters()[4].tensor[2][3] = std::nan("");
  }
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_THAT(run.notes.all_findings(), HasSubstr("unit 'h.2' is the first"));
  EXPECT_THAT(run.notes.all_findings(), HasSubstr("its parameter 'h.2.weight' has 1 NaN"));
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("the loss of this rank is not finite")));
  EXPECT_TRUE(run.digest()["loss"].is_null());
}

TEST(ForwardPass, DoesNotCountWhatIsComputedAgain) {
  Chain chain;
  for (autograd::Unit* unit : chain.units())
    unit->set_activations({.recompute = autograd::Unit::Activations::Recompute::all});
  Training run(chain);
  run.on(Switch::forward_pass);
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_EQ(run.notes.with("unit").size(), 3U);
}

}  // namespace
}  // namespace trireme::debug

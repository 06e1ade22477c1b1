#include "unit/debug/training.h"

#include <torch/csrc/autograd/variable.h>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(BackwardPass, RecordsArrivalsFlowAndUpdates) {
  Chain chain;
  Training run(chain);
  run.on(Switch::backward_pass);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  run.run(Training::Step{.losses = {loss, loss}});
  const std::vector<json> arrivals = run.notes.with("arrival");
  ASSERT_EQ(arrivals.size(), 12U);
  EXPECT_THAT(arrivals[0]["parameter"].get<std::string>(), HasSubstr("h.2"));
  EXPECT_THAT(arrivals[5]["parameter"].get<std::string>(), HasSubstr("h.0"));
  EXPECT_EQ(arrivals[6]["micro_step"], 1);
  const std::vector<json> flow = run.notes.with("ratio");
  ASSERT_EQ(flow.size(), 6U);
  EXPECT_EQ(flow[0]["unit"], "h.2");
  EXPECT_EQ(flow[0]["ratio"], 1.0);
  EXPECT_EQ(flow[2]["unit"], "h.0");
  const json update = run.notes.with("update_ratio").at(0);
  EXPECT_EQ(update["parameter"], "h.0.weight");
  EXPECT_NEAR(update["update_ratio"].get<double>() * update["weight_norm"].get<double>(),
              update["update_norm"].get<double>(), 1e-9);
  // lr times the gradient of both micro-steps.
  double gradient = 0;
  for (const json& one : arrivals)
    if (one["parameter"] == "h.0.weight") gradient += one["norm"].get<double>();
  EXPECT_NEAR(update["update_norm"].get<double>(), 0.1 * gradient, 1e-4 * gradient);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  const json digest = run.digest();
  EXPECT_EQ(digest["arrivals"], 12);
  EXPECT_EQ(digest["updated"], true);
  EXPECT_EQ(digest["flow"].size(), 3U);
  EXPECT_EQ(digest["update_ratios"].size(), 6U);
  EXPECT_EQ(digest["update_ratios"]["h.0.weight"], update["update_ratio"]);
  EXPECT_FALSE(digest.contains("of"));
}

TEST(BackwardPass, NamesTheFirstGradientThatIsNotFinite) {
  Chain chain(4);
  Training run(chain);
  run.on(Switch::backward_pass);
  chain.then["h.2"] = [](const at::Tensor& y) {
    return y + (y - y.detach()).abs().sqrt();
  };
  run.run([&] { return chain.loss(chain_input()); });
  ASSERT_THAT(run.notes.findings, Contains(HasSubstr("the first of the backward pass")));
  EXPECT_THAT(run.notes.all_findings(), HasSubstr("gradient of 'h.2."));
  EXPECT_THAT(run.notes.all_findings(), HasSubstr("(arrival 3 of 8, micro-step 0)"));
  EXPECT_THAT(run.digest()["first_not_finite"]["parameter"].get<std::string>(), HasSubstr("h.2."));
}

TEST(BackwardPass, SeesGradientsVanishAndExplodeAlongTheDepth) {
  for (const bool vanish : {true, false}) {
    Chain chain(8, vanish ? 1e-2 : 0.5);
    Training run(chain);
    run.on(Switch::backward_pass);
    if (!vanish)
      for (const char* name : {"h.1", "h.3", "h.5"})
        chain.then[name] = [](const at::Tensor& y) {
          return y + (y - y.detach()) * 1e3;
        };
    run.run(Training::Step{.losses = {[&] {
                             return chain.loss(chain_input());
                           }},
                           .lr = 0});
    EXPECT_THAT(run.notes.findings,
                Contains(HasSubstr(vanish ? "gradients vanish" : "gradients explode")));
    const json digest = run.digest();
    EXPECT_FALSE(digest[vanish ? "vanishes_at" : "explodes_at"].is_null());
    EXPECT_TRUE(digest[vanish ? "explodes_at" : "vanishes_at"].is_null());
    EXPECT_EQ(digest["updated"], false);
  }
}

TEST(BackwardPass, IsGoneWhenItIsDestroyed) {
  Chain chain;
  Training run(chain);
  run.on(Switch::backward_pass);
  run.run([&] { return chain.loss(chain_input()); });
  // In the midst of a step, too.
  run.tools[0]->begin_step({2, true});
  run.tools.clear();
  run.notes.records.clear();
  autograd::backward(chain.loss(chain_input()));
  EXPECT_THAT(run.notes.records, IsEmpty());
}

TEST(BackwardPass, TellsSharesOfTheMeanGradient) {
  Chain chain;
  Training run(chain);
  run.on(Switch::backward_pass);
  run.run(Training::Step{.losses = {[&] {
                           return chain.loss(chain_input());
                         }},
                         .scale = 8});
  const json arrival = run.notes.with("arrival").at(0), flow = run.notes.with("ratio").at(0);
  EXPECT_NEAR(arrival["norm_in_mean"].get<double>(), arrival["norm"].get<double>() / 8, 1e-9);
  EXPECT_NEAR(flow["rms_in_mean"].get<double>(), flow["rms"].get<double>() / 8, 1e-9);
}

TEST(BackwardPass, LooksOnlyWhereItShould) {
  Chain chain;
  Training run(chain);
  run.on(Switch::backward_pass);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  run.run(Training::Step{.losses = {loss}, .looks = false});
  autograd::backward(loss());  // of somebody else, between steps
  EXPECT_THAT(run.notes.records, IsEmpty());
  run.run(Training::Step{.losses = {loss}});
  EXPECT_EQ(run.notes.with("arrival").size(), 6U);
}

TEST(BackwardPass, HooksDoNotPileUp) {
  Chain chain;
  const auto hooks = [&] {
    const at::Tensor weight = chain.parameters()[0].tensor;
    return torch::autograd::impl::get_autograd_meta(weight)->cpp_hooks_list_->size();
  };
  const at::Tensor weight = chain.parameters()[0].tensor;
  int own = 0;
  const unsigned place = weight.register_hook([&](const at::Tensor&) { ++own; });
  for (int i = 0; i < 3; ++i) {
    Training run(chain);
    run.on(Switch::backward_pass);
    for (int step = 0; step < 3; ++step) run.run([&] { return chain.loss(chain_input()); });
    EXPECT_EQ(hooks(), 2U);
    EXPECT_EQ(run.notes.of("parameter", "h.0.weight").size(), 6U);  // arrivals and updates
  }
  EXPECT_EQ(hooks(), 1U);
  EXPECT_EQ(own, 9);
  weight.remove_hook(place);
}

TEST(BackwardPass, UpdatesOfFragments) {
  core::Parameter part{.name = "w",
                       .tensor = at::full({4}, 3.0F).requires_grad_(),
                       .fragment = core::Fragment{{6, 6}, 8}};
  part.tensor.mutable_grad() = at::ones({4});
  Training run({}, {part});
  run.on(Switch::backward_pass);
  run.run(Training::Step{.lr = 0.3});
  const json update = run.notes.with("update_ratio").at(0);
  EXPECT_EQ(update["fragment"], (json{8, 4}));
  EXPECT_NEAR(update["update_ratio"].get<double>(), 0.1, 1e-6);
  EXPECT_EQ(run.digest()["of"], "this rank's part");
}

}  // namespace
}  // namespace trireme::debug

#include "unit/debug/training.h"

#include <cmath>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(GradientNorms, RecordsEachParameter) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  double weight_norm = 0, all = 0;
  run.before_backward = [] {
  };
  // The same gradients, by hand.
  autograd::backward(chain.loss(chain_input()));
  for (const core::Parameter& p : run.subject.parameters) {
    const double norm = p.tensor.grad().norm().item<double>();
    if (p.name == "h.1.weight") weight_norm = norm;
    all += norm * norm;
    p.tensor.mutable_grad() = at::Tensor();
  }
  run.run(Training::Step{.losses = {[&] {
                           return chain.loss(chain_input());
                         }},
                         .scale = 8,
                         .clipping = 0.25});

  ASSERT_EQ(run.notes.with("parameter").size(), 6U);
  const json record = run.notes.of("parameter", "h.1.weight").at(0);
  // From the first look on, although no step was decided yet.
  EXPECT_NEAR(record["norm"].get<double>(), weight_norm, 1e-4 * weight_norm);
  EXPECT_NEAR(record["mean_scale"].get<double>(), 1.0 / 8, 1e-9);
  EXPECT_NEAR(record["norm_as_used"].get<double>(), weight_norm / 4, 1e-4 * weight_norm);
  EXPECT_EQ(record["elements"], 36);
  EXPECT_EQ(record["nan"], 0);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  const json digest = run.digest();
  EXPECT_NEAR(digest["norm"].get<double>(), std::sqrt(all), 1e-4 * std::sqrt(all));
  EXPECT_NEAR(digest["norm_as_used"].get<double>(), std::sqrt(all) / 4, 1e-4 * std::sqrt(all));
  EXPECT_EQ(digest["norms"].size(), 6U);
  EXPECT_TRUE(digest["largest"].contains("parameter"));
  EXPECT_TRUE(run.digest().empty());
}

TEST(GradientNorms, GoesByTheLossScaleWhereNoMeanScaleIsTold) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  const Training::Step step{.losses = {[&] {
                              return chain.loss(chain_input());
                            }},
                            .scale = 8,
                            .tells_mean_scale = false,
                            .lr = 0};
  run.run(step);
  const double first = run.digest()["norm"].get<double>();
  run.run(step);
  EXPECT_NEAR(run.digest()["norm"].get<double>(), first / 8, 1e-4 * first);
}

TEST(GradientNorms, KeepsTheLastScaleWhereThatOfTheStepIsNotFinite) {
  core::Parameter p{.name = "w", .tensor = at::ones({4}).requires_grad_(), .fragment = {}};
  p.tensor.mutable_grad() = at::full({4}, 8.0F);
  Training run({}, {p});
  run.on(Switch::gradient_norms);
  const at::Tensor good = at::full({}, 0.5F), bad = at::full({}, std::nan(""));
  run.tools[0]->gradients({.gradient_scale = &good, .mean_scale = &good});
  EXPECT_NEAR(run.digest()["norm"].get<double>(), 8, 1e-6);
  run.tools[0]->gradients({.gradient_scale = &bad, .mean_scale = &bad});
  const json digest = run.digest();
  EXPECT_NEAR(digest["norm"].get<double>(), 8, 1e-6);
  EXPECT_FALSE(digest.contains("norm_as_used"));
}

TEST(GradientNorms, NamesWhatIsNotFinite) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  // Finite values whose gradient is not.
  chain.then["h.1"] = [](const at::Tensor& y) {
    return y + (y - y.detach()).abs().sqrt();
  };
  run.run([&] { return chain.loss(chain_input()); });
  ASSERT_EQ(run.notes.findings.size(), 1U);
  EXPECT_THAT(run.notes.findings[0],
              HasSubstr("4 of 6 parameters are not finite: 'h.0.weight' (36 NaN"));
  EXPECT_EQ(run.digest()["not_finite"], 4);
  EXPECT_EQ(run.notes.of("parameter", "h.0.bias").at(0)["nan"], 6);
  // Told once in 100 steps.
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_EQ(run.notes.findings.size(), 1U);
}

TEST(GradientNorms, NamesWhatVanishes) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  chain.then["h.0"] = [](const at::Tensor& y) {
    return y * 1e-9;
  };
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("vanish")));
  EXPECT_THAT(run.notes.all_findings(), HasSubstr("'h.0.weight' (norm"));
  EXPECT_EQ(run.digest()["vanishing"],
            3);  // and of the weights that are multiplied with its output
  EXPECT_EQ(run.notes.of("parameter", "h.0.weight").at(0)["verdict"], "vanishing");
}

TEST(GradientNorms, WhereMostVanishTheRestHasNotExploded) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  chain.then["h.1"] = [](const at::Tensor& y) {
    return y.detach() + (y - y.detach()) * 1e-9;
  };
  run.run([&] { return chain.loss(chain_input()); });
  ASSERT_EQ(run.notes.findings.size(), 1U) << run.notes.all_findings();
  EXPECT_THAT(run.notes.findings[0], HasSubstr("4 of 6 parameters vanish"));
  const json digest = run.digest();
  EXPECT_EQ(digest["vanishing"], 4);
  EXPECT_EQ(digest["exploding"], 0);
}

TEST(GradientNorms, WhereMostExplodeTheRestHasNotVanished) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  double factor = 1;
  chain.then["h.1"] = [&factor](const at::Tensor& y) {
    return y.detach() + (y - y.detach()) * factor;
  };
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  for (int i = 0; i < 3; ++i) run.run(loss);
  EXPECT_THAT(run.notes.findings, IsEmpty());
  factor = 1e9;
  run.run(loss);
  ASSERT_EQ(run.notes.findings.size(), 1U) << run.notes.all_findings();
  EXPECT_THAT(run.notes.findings[0], HasSubstr("4 of 6 parameters explode"));
}

TEST(GradientNorms, NamesWhatExplodes) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  double factor = 1;
  const auto loss = [&] {
    return chain.loss(chain_input()) * factor;
  };
  for (int i = 0; i < 3; ++i) run.run(Training::Step{.losses = {loss}, .lr = 1e-3});
  EXPECT_THAT(run.notes.findings, IsEmpty());
  factor = 1e4;
  run.run(Training::Step{.losses = {loss}, .lr = 0});
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("6 of 6 parameters explode")));
  EXPECT_EQ(run.digest()["exploding"], 6);
}

TEST(GradientNorms, TellsOfGradientsThatAreZero) {
  Chain chain;
  Training run(chain);
  run.on(Switch::gradient_norms);
  chain.then["h.2"] = [](const at::Tensor& y) {
    return y * 0.0;
  };
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_THAT(run.notes.findings, Contains(HasSubstr("are zero everywhere")));
  EXPECT_EQ(run.notes.of("parameter", "h.0.weight").at(0)["zeros"], 1.0);
}

TEST(GradientNorms, FragmentsSayWhichPartTheyAre) {
  core::Parameter part{.name = "h.0.weight",
                       .tensor = at::ones({10}).requires_grad_(),
                       .fragment = core::Fragment{{6, 6}, 12}};
  part.tensor.mutable_grad() = at::full({10}, 2.0F);
  core::Parameter untouched{.name = "wte",
                            .tensor = at::ones({5}).requires_grad_(),
                            .fragment = core::Fragment{{50, 5}, 5}};
  untouched.tensor.mutable_grad() = at::zeros({5});
  Training run({}, {part, untouched});
  run.on(Switch::gradient_norms);
  run.run(Training::Step{});
  const json record = run.notes.of("parameter", "h.0.weight").at(0);
  EXPECT_EQ(record["fragment"], (json{12, 10}));
  EXPECT_NEAR(record["norm"].get<double>(), std::sqrt(40.0), 1e-6);
  EXPECT_EQ(run.digest()["of"], "this rank's part");
  EXPECT_THAT(run.notes.findings, IsEmpty());  // rows that no token uses are nothing strange
}

TEST(GradientNorms, LooksOnlyWhereItShould) {
  Chain chain(2, 0.5, at::kBFloat16);
  Training run(chain);
  run.on(Switch::gradient_norms);
  const auto loss = [&] {
    return chain.loss(chain_input(4, at::kBFloat16));
  };
  run.run(Training::Step{.losses = {loss}, .looks = false});
  EXPECT_THAT(run.notes.records, IsEmpty());
  EXPECT_TRUE(run.digest().empty());
  run.run(Training::Step{.losses = {loss}});
  EXPECT_EQ(run.notes.with("parameter").size(), 4U);
  EXPECT_FALSE(run.tools[0]->needs_eager_steps());
}

}  // namespace
}  // namespace trireme::debug

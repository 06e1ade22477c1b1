#include "unit/debug/training.h"

#include <thread>

#include <torch/csrc/autograd/anomaly_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <gmock/gmock.h>

namespace trireme::debug {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// Its backward divides by zero.
struct Faulty final : torch::autograd::Function<Faulty> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) {
    return x * 2;
  }
  static Tensors backward(torch::autograd::AutogradContext*, const Tensors& gradients) {
    return {gradients[0] / 0.0};
  }
};

at::Tensor infinite_slope(const at::Tensor& y) {
  return y + (y - y.detach()).abs().sqrt();
}

TEST(AutogradAnomaly, NamesTheOperationAndItsUnit) {
  Chain chain;
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  chain.then["h.1"] = infinite_slope;
  run.run([&] { return chain.loss(chain_input()); });
  ASSERT_THAT(run.notes.findings, SizeIs(1));
  EXPECT_THAT(run.notes.findings[0],
              HasSubstr("SqrtBackward0 in unit 'h.1' is the first operation"));
  const json record = run.notes.with("node").at(0);
  EXPECT_EQ(record["unit"], "h.1");
  EXPECT_EQ(record["inputs_finite"], true);
  EXPECT_EQ(record["outputs"], json::array({0}));
  EXPECT_GT(record["position"].get<int>(), 0);
  EXPECT_TRUE(record["forward_stack"].is_array());
  const json digest = run.digest();
  EXPECT_EQ(digest["culprit"]["node"], "SqrtBackward0");
  EXPECT_GT(digest["operations"].get<int>(), 10);
}

TEST(AutogradAnomaly, FindsNothingWhereAllIsWell) {
  Chain chain;
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  const auto loss = [&] {
    return chain.loss(chain_input());
  };
  run.run(Training::Step{.losses = {loss, loss}});
  EXPECT_THAT(run.notes.findings, IsEmpty());
  EXPECT_EQ(run.notes.records.at(0)["finite"], true);
  EXPECT_TRUE(run.digest()["culprit"].is_null());
}

TEST(AutogradAnomaly, WorksInRecomputedUnitsAndForOwnFunctions) {
  Chain chain;
  for (autograd::Unit* unit : chain.units())
    unit->set_activations({.recompute = autograd::Unit::Activations::Recompute::all});
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  chain.then["h.2"] = [](const at::Tensor& y) {
    return Faulty::apply(y);
  };
  run.run([&] { return chain.loss(chain_input()); });
  ASSERT_THAT(run.notes.findings, SizeIs(1));
  EXPECT_THAT(run.notes.findings[0], HasSubstr("Faulty"));
  EXPECT_THAT(run.notes.findings[0], HasSubstr("in unit 'h.2'"));
}

TEST(AutogradAnomaly, TellsWhereTheGradientWasSpoiltBeforeBackward) {
  Chain chain;
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  run.run(Training::Step{.losses = {[&] {
                           return chain.loss(chain_input());
                         }},
                         .scale = std::nan("")});
  EXPECT_THAT(run.notes.findings,
              Contains(HasSubstr(
                  "the gradient that enters SumBackward0 outside of the units is not finite")));
  EXPECT_EQ(run.notes.with("node").at(0)["inputs_finite"], false);
}

TEST(AutogradAnomaly, TellsTheMicroStep) {
  Chain chain;
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  const auto good = [&] {
    return chain.loss(chain_input());
  };
  const auto bad = [&] {
    return infinite_slope(chain.loss(chain_input()));
  };
  run.run(Training::Step{.losses = {good, bad}});
  const json record = run.notes.with("node").at(0);
  EXPECT_EQ(record["micro_step"], 1);
  EXPECT_TRUE(record["unit"].is_null());
}

TEST(AutogradAnomaly, LibTorchsModeEndsWithTheStep) {
  Chain chain;
  Training run(chain);
  run.on(Switch::autograd_anomaly);
  bool during = false;
  run.before_backward = [&] {
    during = torch::autograd::AnomalyMode::is_enabled();
  };
  run.run([&] { return chain.loss(chain_input()); });
  EXPECT_TRUE(during);
  EXPECT_FALSE(torch::autograd::AnomalyMode::is_enabled());
  run.run(Training::Step{.losses = {[&] {
                           return chain.loss(chain_input());
                         }},
                         .looks = false});
  EXPECT_FALSE(during);
  run.tools[0]->begin_step({3, true});
  run.tools.clear();
  EXPECT_FALSE(torch::autograd::AnomalyMode::is_enabled());
}

TEST(AutogradAnomaly, RanksMayBeThreads) {
  std::vector<std::thread> ranks;
  std::vector<std::string> found(3);
  for (size_t rank = 0; rank < found.size(); ++rank)
    ranks.emplace_back([&, rank] {
      Chain chain;
      Training run(chain);
      run.on(Switch::autograd_anomaly);
      for (int step = 0; step < 3; ++step) {
        if (rank == 1 && step == 2) chain.then["h.0"] = infinite_slope;
        run.run([&] { return chain.loss(chain_input()); });
      }
      found[rank] = run.notes.all_findings();
    });
  for (std::thread& rank : ranks) rank.join();
  EXPECT_EQ(found[0], "");
  EXPECT_THAT(found[1], HasSubstr("step 3: SqrtBackward0 in unit 'h.0'"));
  EXPECT_EQ(found[2], "");
}

}  // namespace
}  // namespace trireme::debug

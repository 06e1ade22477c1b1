#include <trireme/optim/weight_average.h>

#include "support/memory_state.h"

#include <algorithm>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::optim {
namespace {

using test::MemoryState;

core::ParameterSet parameters_of(at::ScalarType type = at::kFloat) {
  at::manual_seed(3);
  core::ParameterSet set = {{"w", at::randn({5, 7})}, {"b", at::randn({3})}};
  for (core::Parameter& p : set) {
    p.tensor = p.tensor.to(type).requires_grad_();
    p.tensor.mutable_grad() = at::ones(p.tensor.sizes(), at::kFloat);
  }
  return set;
}

std::unique_ptr<Optimizer> optimizer_of(const core::ParameterSet& set) {
  OptimConfig config;
  config.name = "sgd";
  config.momentum = 0.0;
  config.weight_decay = 0.0;
  return make_optimizer(config, set);
}

at::Tensor flag(bool on) {
  return at::full({}, on ? 1.0 : 0.0, at::kFloat);
}

void train(Optimizer& optimizer, const core::ParameterSet& set, bool skipped = false) {
  for (const core::Parameter& p : set) const_cast<at::Tensor&>(p.tensor).mutable_grad().fill_(1.0);
  optimizer.step({.lr = 0.1, .gradient_scale = {}, .nonfinite = flag(skipped)});
}

TEST(WeightAverage, FollowsItsDefinition) {
  for (const bool warmup : {false, true})
    for (const int64_t every : {1, 3}) {
      const core::ParameterSet set = parameters_of();
      const auto optimizer = optimizer_of(set);
      WeightAverage average({.decay = 0.6, .every_steps = every, .warmup = warmup}, set,
                            *optimizer);
      at::Tensor want = set[0].tensor.detach().to(at::kDouble).clone();
      for (int64_t step = 1; step <= 12; ++step) {
        train(*optimizer, set);
        average.update(step, flag(false));
        if (step % every != 0) continue;
        const double t = static_cast<double>(step / every);
        const double keep = warmup ? std::min(0.6, (1 + t) / (10 + t)) : 0.6;
        want = keep * want + (1 - keep) * set[0].tensor.detach().to(at::kDouble);
        EXPECT_TRUE(at::allclose(average.values()[0].to(at::kDouble), want, 1e-6, 1e-7)) << step;
      }
    }
}

TEST(WeightAverage, ASkippedUpdateChangesNothing) {
  const core::ParameterSet set = parameters_of();
  const auto optimizer = optimizer_of(set);
  WeightAverage average({.decay = 0.5}, set, *optimizer);
  train(*optimizer, set);
  average.update(1, flag(false));
  const at::Tensor before = average.values()[0].clone();
  train(*optimizer, set, /*skipped=*/true);
  average.update(2, flag(true));
  EXPECT_TRUE(average.values()[0].equal(before));
}

TEST(WeightAverage, TakesMastersOfRoundedWeights) {
  const core::ParameterSet set = parameters_of(at::kBFloat16);
  const auto optimizer = optimizer_of(set);
  WeightAverage average({.decay = 0.0}, set, *optimizer);
  train(*optimizer, set);
  average.update(1, flag(false));
  EXPECT_EQ(average.values()[0].scalar_type(), at::kFloat);
  EXPECT_TRUE(average.values()[0].equal(optimizer->precise(set)[0]));
  EXPECT_FALSE(average.values()[0].equal(set[0].tensor.detach().to(at::kFloat)));
}

TEST(WeightAverage, TheScopeLendsItToTheParameters) {
  const core::ParameterSet set = parameters_of();
  const auto optimizer = optimizer_of(set);
  WeightAverage average({.decay = 0.9}, set, *optimizer);
  train(*optimizer, set);
  average.update(1, flag(false));
  const at::Tensor weights = set[0].tensor.detach().clone();
  {
    const WeightAverage::Scope scope(average);
    EXPECT_TRUE(set[0].tensor.detach().equal(average.values()[0]));
    EXPECT_FALSE(set[0].tensor.detach().equal(weights));
  }
  EXPECT_TRUE(set[0].tensor.detach().equal(weights));
}

TEST(WeightAverage, GoesThroughACheckpoint) {
  const core::ParameterSet set = parameters_of();
  const auto optimizer = optimizer_of(set);
  WeightAverage average({.decay = 0.9}, set, *optimizer);
  train(*optimizer, set);
  average.update(1, flag(false));
  MemoryState state;
  average.save_state(state);
  EXPECT_TRUE(state.has("ema/w") && state.has("ema/b"));

  WeightAverage loaded({.decay = 0.9}, set, *optimizer);
  EXPECT_FALSE(loaded.values()[0].equal(average.values()[0]));
  loaded.load_state(state);
  EXPECT_TRUE(loaded.values()[0].equal(average.values()[0]));
  loaded.load_state(MemoryState());  // of a run without an average
  EXPECT_TRUE(loaded.values()[0].equal(set[0].tensor.detach()));
}

}  // namespace
}  // namespace trireme::optim

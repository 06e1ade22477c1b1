#include <trireme/core/error.h>
#include <trireme/optim/optimizer.h>
#include <trireme/optim/weight_average.h>

#include "support/memory_state.h"

#include <cmath>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gmock/gmock.h>

namespace trireme::optim {
namespace {

using test::MemoryState;
using testing::HasSubstr;

struct Case {
  std::string label;
  OptimConfig config;
  at::ScalarType type;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.label;
}

OptimConfig named(const std::string& name, const std::string& state, bool masters) {
  OptimConfig config;
  config.name = name;
  config.state = state;
  config.masters = masters;
  return config;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string name : {"adamw", "adam", "adagrad", "lion", "lamb", "sgd"}) {
    all.push_back({name + "_all_bf16", named(name, "bf16", false), at::kBFloat16});
    all.push_back({name + "_with_masters", named(name, "bf16", true), at::kBFloat16});
    all.push_back({name + "_fp32_state", named(name, "fp32", false), at::kBFloat16});
    all.push_back({name + "_fp32_parameters", named(name, "bf16", false), at::kFloat});
  }
  Case plain{"sgd_plain", named("sgd", "bf16", false), at::kBFloat16};
  plain.config.momentum = 0.0;
  all.push_back(plain);
  return all;
}

/// Longer than two chunks and no multiple of a piece; edges besides.
core::ParameterSet make_parameters(at::ScalarType type) {
  at::manual_seed(11);
  core::ParameterSet set = {{"big", at::randn({41, 1003})},
                            {"bias", at::randn({17})},
                            {"scalar", at::randn({})},
                            {"empty", at::zeros({0, 3})}};
  for (core::Parameter& p : set) {
    p.tensor = p.tensor.to(type).requires_grad_();
    p.tensor.mutable_grad() = at::zeros(p.tensor.sizes(), at::kFloat);
  }
  return set;
}

void fill_gradients(const core::ParameterSet& parameters, int step) {
  at::manual_seed(static_cast<uint64_t>(100 + step));
  for (const core::Parameter& p : parameters) p.tensor.grad().copy_(at::randn(p.tensor.sizes()));
}

/// Cuts every parameter in two at a place that divides nothing; gradients are cut with it.
core::ParameterSet halves_of(const core::ParameterSet& whole, bool second) {
  core::ParameterSet set;
  for (const core::Parameter& p : whole) {
    const int64_t all = p.tensor.numel(), cut = (all * 3 + 6) / 7;
    const int64_t begin = second ? cut : 0, count = second ? all - cut : cut;
    at::Tensor part = p.tensor.detach().view(-1).narrow(0, begin, count).clone().requires_grad_();
    part.mutable_grad() = p.tensor.grad().view(-1).narrow(0, begin, count);
    set.push_back({p.name, part, core::Fragment{p.tensor.sizes().vec(), begin}});
  }
  return set;
}

MemoryState state_of(const Optimizer& optimizer, const core::ParameterSet& parameters) {
  MemoryState state;
  optimizer.save_state(state);
  for (const core::Parameter& p : parameters)
    if (!p.fragment) state.replicated("model/" + p.name, p.tensor);
  return state;
}

void expect_equal(const MemoryState& a, const MemoryState& b) {
  EXPECT_EQ(a.scalars, b.scalars);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, values] : a.tensors)
    EXPECT_TRUE(values.equal(b.tensors.at(name))) << name;
}

class LowMemory : public testing::TestWithParam<Case> {
 protected:
  const OptimConfig& config() const { return GetParam().config; }
  core::ParameterSet parameters() const { return make_parameters(GetParam().type); }
};

TEST_P(LowMemory, GivesTheSameBitsOnAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  std::vector<MemoryState> states;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const core::ParameterSet set = parameters();
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(config(), set);
    for (int step = 0; step < 3; ++step) {
      fill_gradients(set, step);
      optimizer->step({0.01, {}, {}});
    }
    states.push_back(state_of(*optimizer, set));
  }
  at::set_num_threads(before);
  expect_equal(states[0], states[1]);
  expect_equal(states[0], states[2]);
}

TEST_P(LowMemory, GivesTheSameBitsHoweverParametersAreCut) {
  if (config().name == "lamb") return;  // its norms are sums over the ranks: see OfLamb below
  const core::ParameterSet whole = parameters();
  const core::ParameterSet left = halves_of(whole, false), right = halves_of(whole, true);
  OptimConfig alike = config();
  alike.decay_all = true;  // fragments have one dimension
  const std::unique_ptr<Optimizer> a = make_optimizer(alike, whole);
  const std::unique_ptr<Optimizer> b = make_optimizer(alike, left);
  const std::unique_ptr<Optimizer> c = make_optimizer(alike, right);
  for (int step = 0; step < 3; ++step) {
    fill_gradients(whole, step);
    b->step({0.01, {}, {}});
    c->step({0.01, {}, {}});
    fill_gradients(whole, step);
    a->step({0.01, {}, {}});
  }
  for (size_t i = 0; i < whole.size(); ++i)
    EXPECT_TRUE(whole[i].tensor.view(-1).equal(at::cat({left[i].tensor, right[i].tensor})))
        << whole[i].name;
  MemoryState one, parts;
  a->save_state(one);
  b->save_state(parts);
  parts.scalars.clear();
  c->save_state(parts);
  for (const auto& [name, values] : parts.tensors)
    EXPECT_TRUE(values.equal(one.tensors.at(name))) << name;
}

TEST_P(LowMemory, GoesOnExactlyFromSavedState) {
  const core::ParameterSet straight = parameters(), resumed = parameters();
  const std::unique_ptr<Optimizer> a = make_optimizer(config(), straight);
  const std::unique_ptr<Optimizer> b = make_optimizer(config(), resumed);
  MemoryState saved;
  for (int step = 0; step < 4; ++step) {
    if (step == 2) saved = state_of(*a, straight);
    fill_gradients(straight, step);
    a->step({0.01, {}, {}});
  }
  {
    const at::NoGradGuard no_grad;
    for (const core::Parameter& p : resumed) p.tensor.copy_(saved.tensors.at("model/" + p.name));
  }
  b->load_state(saved);
  for (int step = 2; step < 4; ++step) {
    fill_gradients(resumed, step);
    b->step({0.01, {}, {}});
  }
  expect_equal(state_of(*a, straight), state_of(*b, resumed));
}

TEST_P(LowMemory, ASkippedStepLeavesNoTrace) {
  const core::ParameterSet set = parameters();
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config(), set);
  fill_gradients(set, 0);
  optimizer->step({0.01, {}, {}});
  const MemoryState before = state_of(*optimizer, set);
  for (const core::Parameter& p : set) p.tensor.grad().fill_(NAN);
  optimizer->step({0.01, {}, at::ones({}, at::kFloat)});
  expect_equal(state_of(*optimizer, set), before);
  for (const core::Parameter& p : set)
    EXPECT_EQ(p.tensor.grad().count_nonzero().item<int64_t>(), 0) << p.name;
}

// One update, from equal values: every array is the float32 one but for a rounding.
TEST_P(LowMemory, AnUpdateIsTheFloat32OneRounded) {
  const core::ParameterSet low = parameters(), full = parameters();
  core::ParameterSet wide;
  for (const core::Parameter& p : full) {
    wide.push_back({p.name, p.tensor.detach().to(at::kFloat).requires_grad_()});
    wide.back().tensor.mutable_grad() = p.tensor.grad();
  }
  const std::unique_ptr<Optimizer> a = make_optimizer(config(), low);
  OptimConfig exact = config();
  exact.state = "fp32";
  const std::unique_ptr<Optimizer> b = make_optimizer(exact, wide);
  fill_gradients(low, 0);
  fill_gradients(full, 0);
  a->step({0.01, {}, {}});
  b->step({0.01, {}, {}});
  const MemoryState mine = state_of(*a, low), theirs = state_of(*b, wide);
  // Lamb's second pass uses the rounded moments: its step of about lr is off by two spacings.
  const double step_error = config().name == "lamb" ? 0.01 * 0x1p-6 : 1e-38;
  for (const auto& [name, values] : theirs.tensors) {
    const at::Tensor got = mine.tensors.at(name).to(at::kFloat);
    EXPECT_TRUE(((got - values).abs() <= values.abs() * 0x1p-7 + step_error).all().item<bool>())
        << name;
    if (values.numel() < 1000) continue;
    EXPECT_LT(std::abs((got - values).mean().item<double>()), 2e-4) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, LowMemory, testing::ValuesIn(cases()),
                         [](const auto& one) { return one.param.label; });

TEST(LowMemoryState, OfLambIsRoundedAlikeHoweverItIsCut) {
  const core::ParameterSet whole = make_parameters(at::kBFloat16);
  const core::ParameterSet left = halves_of(whole, false);
  const OptimConfig config = named("lamb", "bf16", false);
  const std::unique_ptr<Optimizer> a = make_optimizer(config, whole),
                                   b = make_optimizer(config, left);
  fill_gradients(whole, 0);
  b->step({0.0, {}, {}});
  fill_gradients(whole, 0);
  a->step({0.0, {}, {}});
  // Moments come before the norms: of the first update they depend on the gradient alone.
  MemoryState one, part;
  a->save_state(one);
  b->save_state(part);
  for (const core::Parameter& p : left)
    for (const std::string slot : {"moment", "square_moment"}) {
      const std::string name = "optim/" + slot + "/" + p.name;
      if (!part.tensors.contains(name)) continue;
      const int64_t held = p.tensor.numel();
      EXPECT_TRUE(part.tensors.at(name)
                      .view(-1)
                      .narrow(0, 0, held)
                      .equal(one.tensors.at(name).view(-1).narrow(0, 0, held)))
          << name;
    }
}

TEST(LowMemoryState, TakesHalfTheBytes) {
  const core::ParameterSet set = make_parameters(at::kBFloat16);
  const auto bytes = [&](const std::string& state, bool masters) {
    MemoryState saved;
    make_optimizer(named("adamw", state, masters), set)->save_state(saved);
    int64_t sum = 0;
    for (const auto& [name, values] : saved.tensors) sum += static_cast<int64_t>(values.nbytes());
    return sum;
  };
  const int64_t elements = core::elements(set);
  EXPECT_EQ(bytes("fp32", true), 12 * elements);
  EXPECT_EQ(bytes("bf16", true), 8 * elements);
  EXPECT_EQ(bytes("fp32", false), 8 * elements);
  EXPECT_EQ(bytes("bf16", false), 4 * elements);
}

TEST(LowMemoryState, IsForecast) {
  for (const bool masters : {true, false})
    for (const std::string state : {"fp32", "bf16"})
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16})
        for (const std::string rule : {"adamw", "lion", "sgd"}) {
          const core::ParameterSet set = make_parameters(type);
          const OptimConfig config = named(rule, state, masters);
          MemoryState saved;
          make_optimizer(config, set)->save_state(saved);
          int64_t bytes = 0;
          for (const auto& [name, values] : saved.tensors)
            bytes += static_cast<int64_t>(values.nbytes());
          EXPECT_EQ(bytes, state_bytes_per_element(config, type) * core::elements(set));
        }
  EXPECT_EQ(state_bytes_per_element({}, at::kHalf), 12);
}

TEST(LowMemoryState, OfTheOtherTypeIsRefused) {
  const core::ParameterSet set = make_parameters(at::kBFloat16);
  for (const std::string saved : {"fp32", "bf16"}) {
    MemoryState state;
    make_optimizer(named("adamw", saved, false), set)->save_state(state);
    const std::unique_ptr<Optimizer> other =
        make_optimizer(named("adamw", saved == "fp32" ? "bf16" : "fp32", false), set);
    EXPECT_THROW(other->load_state(state), Error);
  }
}

TEST(LowMemoryState, MastersStartFromParametersThatHadNone) {
  const core::ParameterSet set = make_parameters(at::kBFloat16);
  MemoryState state;
  make_optimizer(named("adamw", "fp32", false), set)->save_state(state);
  EXPECT_FALSE(state.has("master/big"));
  const std::unique_ptr<Optimizer> with = make_optimizer(named("adamw", "fp32", true), set);
  with->load_state(state);
  EXPECT_TRUE(with->precise(set)[0].equal(set[0].tensor.detach().to(at::kFloat)));
}

TEST(LowMemoryState, RefusesFloat16ParametersWithoutMasters) {
  const core::ParameterSet set = make_parameters(at::kHalf);
  try {
    (void)make_optimizer(named("adamw", "fp32", false), set);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), HasSubstr("optim.masters"));
    EXPECT_THAT(error.message(), HasSubstr("'big' is float16"));
  }
  (void)make_optimizer(named("adamw", "bf16", true), set);  // with masters it is fine
}

TEST(LowMemoryState, LeavesFloat32ParametersWithoutMastersExact) {
  const core::ParameterSet a = make_parameters(at::kFloat), b = make_parameters(at::kFloat);
  const std::unique_ptr<Optimizer> with = make_optimizer(named("adamw", "fp32", true), a);
  const std::unique_ptr<Optimizer> without = make_optimizer(named("adamw", "fp32", false), b);
  fill_gradients(a, 0);
  fill_gradients(b, 0);
  with->step({0.01, {}, {}});
  without->step({0.01, {}, {}});
  expect_equal(state_of(*with, a), state_of(*without, b));
}

TEST(LowMemoryState, WalksChannelsLastParameters) {
  at::manual_seed(5);
  core::ParameterSet set = {
      {"w", at::randn({4, 3, 5, 5}).contiguous(at::MemoryFormat::ChannelsLast).to(at::kBFloat16)}};
  set[0].tensor.requires_grad_();
  set[0].tensor.mutable_grad() =
      at::ones_like(set[0].tensor, at::TensorOptions(at::kFloat), at::MemoryFormat::Preserve);
  ASSERT_FALSE(set[0].tensor.is_contiguous());
  const at::Tensor before = set[0].tensor.detach().clone();
  OptimConfig config = named("sgd", "bf16", false);
  config.weight_decay = 0.0;
  make_optimizer(config, set)->step({0.5, {}, {}});
  const at::Tensor want = before.to(at::kFloat) - 0.5;
  EXPECT_TRUE(at::allclose(set[0].tensor.detach().to(at::kFloat), want, 0x1p-7, 0.0));
}

TEST(LowMemoryState, TheAverageFollowsParametersWithoutMasters) {
  const core::ParameterSet set = make_parameters(at::kBFloat16);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw", "bf16", false), set);
  EXPECT_TRUE(optimizer->precise(set)[0].equal(set[0].tensor.detach()));
  WeightAverage average({.decay = 0.0}, set, *optimizer);
  fill_gradients(set, 0);
  optimizer->step({0.1, {}, {}});
  average.update(1, at::zeros({}, at::kFloat));
  EXPECT_EQ(average.values()[0].scalar_type(), at::kFloat);
  EXPECT_TRUE(average.values()[0].equal(set[0].tensor.detach().to(at::kFloat)));
}

// Updates of a quarter of the spacing: every element goes its own way, and anew in every update.
TEST(LowMemoryState, RoundsEveryElementAnewInEveryUpdate) {
  constexpr int64_t elements = 40000;
  constexpr int updates = 40;
  core::ParameterSet set;
  for (const std::string name : {"a", "b"}) {
    set.push_back({name, at::ones({elements}, at::kBFloat16).requires_grad_()});
    set.back().tensor.mutable_grad() = at::zeros({elements});
  }
  OptimConfig config = named("sgd", "fp32", false);
  config.momentum = 0.0;
  config.weight_decay = 0.0;
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, set);
  for (int i = 0; i < updates; ++i) {
    for (const core::Parameter& p : set) p.tensor.grad().fill_(-1.0);
    optimizer->step({0x1p-9, {}, {}});
  }
  // Spacings gone: a binomial distribution.
  const auto gone = [&](size_t i) {
    return (set[i].tensor.detach().to(at::kDouble) - 1.0) * 0x1p7;
  };
  EXPECT_NEAR(gone(0).mean().item<double>(), updates / 4.0, 0.1);
  EXPECT_NEAR(gone(0).var().item<double>(), updates * 3.0 / 16.0, 0.4);
  const at::Tensor together = (gone(0) - updates / 4.0) * (gone(1) - updates / 4.0);
  EXPECT_NEAR(together.mean().item<double>(), 0.0, 0.2);
}

TEST(LowMemoryState, RoundsTheSlotsOfAnElementIndependently) {
  const core::ParameterSet low = make_parameters(at::kFloat), full = make_parameters(at::kFloat);
  const std::unique_ptr<Optimizer> a = make_optimizer(named("adamw", "bf16", true), low);
  const std::unique_ptr<Optimizer> b = make_optimizer(named("adamw", "fp32", true), full);
  fill_gradients(low, 0);
  fill_gradients(full, 0);
  a->step({0.01, {}, {}});
  b->step({0.01, {}, {}});
  const MemoryState mine = state_of(*a, low), theirs = state_of(*b, full);
  const auto upwards = [&](const std::string& name) {
    return (mine.tensors.at(name).to(at::kFloat).abs() - theirs.tensors.at(name).abs()).sign();
  };
  const at::Tensor together = upwards("optim/moment/big") * upwards("optim/square_moment/big");
  EXPECT_NEAR(together.mean().item<double>(), 0.0, 0.03);
}

/// Linear regression with hidden weights from 1 to 2.
class Regression {
 public:
  Regression() {
    at::manual_seed(21);
    x_ = at::randn({256, 64});
    y_ = at::matmul(x_, 1.0 + at::rand({64}));
  }
  double loss(const at::Tensor& w) const {
    return (at::matmul(x_, w.to(at::kFloat)) - y_).square().mean().item<double>();
  }
  at::Tensor gradient(const at::Tensor& w) const {
    const at::Tensor off = at::matmul(x_, w.to(at::kFloat)) - y_;
    return at::matmul(x_.t(), off) * (2.0 / 256);
  }
  /// The loss after AdamW at a falling rate.
  double trained(at::ScalarType type, const std::string& state, bool masters, double lr) const {
    core::ParameterSet set = {{"w", start().to(type).requires_grad_()}};
    set[0].tensor.mutable_grad() = at::zeros({64});
    OptimConfig config = named("adamw", state, masters);
    config.betas = {0.9, 0.999};
    config.weight_decay = 0.0;
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, set);
    for (int step = 0; step < steps; ++step) {
      set[0].tensor.grad().copy_(gradient(set[0].tensor.detach()));
      optimizer->step({lr * (1.0 - step / static_cast<double>(steps)), {}, {}});
    }
    return loss(set[0].tensor.detach());
  }
  /// The same with exact moments, and the weights rounded to nearest.
  double trained_to_nearest(double lr) const {
    at::Tensor w = start().to(at::kBFloat16), m = at::zeros({64}), v = at::zeros({64});
    for (int step = 0; step < steps; ++step) {
      const at::Tensor g = gradient(w);
      m = m * 0.9 + g * 0.1;
      v = v * 0.999 + g * g * 0.001;
      const at::Tensor mean = m / (1 - std::pow(0.9, step + 1));
      const at::Tensor root = (v / (1 - std::pow(0.999, step + 1))).sqrt();
      const double rate = lr * (1.0 - step / static_cast<double>(steps));
      w = (w.to(at::kFloat) - rate * mean / (root + 1e-8)).to(at::kBFloat16);
    }
    return loss(w);
  }
  /// The loss with every weight one spacing of bfloat16 off, each in its own direction.
  static constexpr double one_spacing_off = 64 * 0x1p-14;
  static at::Tensor start() { return at::full({64}, 1.5F); }
  static constexpr int steps = 3000;

 private:
  at::Tensor x_, y_;
};

// An update of Adam is about lr; the spacing of bfloat16 from 1 to 2 is 2^-7. Below half of that
// nearest rounding gives the old weight back, forever.
TEST(LowMemoryState, LearnsWhereNearestRoundingStalls) {
  const Regression task;
  constexpr double lr = 0.002;
  const double start = task.loss(Regression::start());
  EXPECT_EQ(task.trained_to_nearest(lr), start);

  EXPECT_LT(task.trained(at::kFloat, "fp32", true, lr), 1e-6 * start);
  EXPECT_LT(task.trained(at::kFloat, "bf16", true, lr), 1e-6 * start);
  // Weights of 8 bits have their spacing as the limit.
  const double limit = Regression::one_spacing_off;
  ASSERT_LT(limit, 1e-2 * start);
  for (const bool masters : {true, false})
    for (const std::string state : {"fp32", "bf16"}) {
      const double got = task.trained(at::kBFloat16, state, masters, lr);
      EXPECT_LT(got, limit) << state << masters;
      RecordProperty(state + (masters ? "_masters" : "_alone"), std::to_string(got));
    }
}

}  // namespace
}  // namespace trireme::optim

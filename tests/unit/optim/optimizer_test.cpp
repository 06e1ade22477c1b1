#include <trireme/core/error.h>
#include <trireme/optim/optimizer.h>

#include "support/memory_state.h"
#include "unit/optim/update_reference.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <gmock/gmock.h>

namespace trireme::optim {
namespace {

using test::MemoryState;
using testing::HasSubstr;

core::ParameterSet make_parameters(at::ScalarType type = at::kFloat) {
  at::manual_seed(11);
  // The first is longer than one chunk and no multiple of any vector length; a scalar and an empty
  // one stand for the edges.
  core::ParameterSet set = {{"big", at::randn({41, 1003})},
                            {"bias", at::randn({17})},
                            {"scalar", at::randn({})},
                            {"empty", at::zeros({0, 3})}};
  for (core::Parameter& p : set) p.tensor = p.tensor.to(type).requires_grad_();
  return set;
}

void bind_gradients(const core::ParameterSet& parameters) {
  for (const core::Parameter& p : parameters)
    const_cast<at::Tensor&>(p.tensor).mutable_grad() =
        at::empty_strided(p.tensor.sizes(), p.tensor.strides(), at::kFloat).zero_();
}

void fill_gradients(const core::ParameterSet& parameters, int step) {
  at::manual_seed(static_cast<uint64_t>(100 + step));
  for (const core::Parameter& p : parameters)
    const_cast<at::Tensor&>(p.tensor).mutable_grad().copy_(at::randn(p.tensor.sizes()));
}

std::vector<at::Tensor> copies(const core::ParameterSet& parameters) {
  std::vector<at::Tensor> all;
  for (const core::Parameter& p : parameters) all.push_back(p.tensor.detach().clone());
  return all;
}

OptimConfig named(const std::string& name) {
  OptimConfig config;
  config.name = name;
  config.weight_decay = 0.1;
  return config;
}

struct Case {
  std::string label;
  OptimConfig config;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << c.label;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* name : {"adamw", "adam", "adagrad", "lion", "lamb", "sgd"})
    all.push_back({name, named(name)});
  Case nesterov{"sgd_nesterov", named("sgd")}, plain{"sgd_plain", named("sgd")};
  nesterov.config.nesterov = true;
  plain.config.momentum = 0.0;
  Case grouped{"adamw_groups", named("adamw")};
  grouped.config.groups = {{"bias", 0.5, 0.2, false}};
  all.insert(all.end(), {nesterov, plain, grouped});
  return all;
}

class EveryRule : public testing::TestWithParam<Case> {};

TEST_P(EveryRule, AgreesWithItsReference) {
  const OptimConfig& config = GetParam().config;
  const core::ParameterSet parameters = make_parameters();
  std::vector<ReferenceRule> references;
  for (const core::Parameter& p : parameters) {
    const bool in_group = !config.groups.empty() && p.name == "bias";
    references.emplace_back(config, p.tensor,
                            in_group ? 0.2 : (p.tensor.dim() >= 2 ? config.weight_decay : 0.0));
  }
  bind_gradients(parameters);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, parameters);
  const at::Tensor scale = at::scalar_tensor(0.25, at::kFloat);
  for (int step = 0; step < 5; ++step) {
    const double lr = 0.01 / (step + 1);
    fill_gradients(parameters, step);
    for (size_t i = 0; i < parameters.size(); ++i) {
      const bool in_group = !config.groups.empty() && parameters[i].name == "bias";
      references[i].step(parameters[i].tensor.grad() * 0.25, in_group ? lr / 2 : lr);
    }
    optimizer->step({lr, scale, at::zeros({}, at::kFloat)});
    for (size_t i = 0; i < parameters.size(); ++i) {
      const at::Tensor got = parameters[i].tensor.detach().to(at::kDouble);
      EXPECT_TRUE(at::allclose(got, references[i].p, 2e-6, 1e-7))
          << parameters[i].name << " step " << step << " differs by "
          << (got.numel() ? (got - references[i].p).abs().max().item<double>() : 0.0);
      EXPECT_EQ(parameters[i].tensor.grad().count_nonzero().item<int64_t>(), 0);
    }
  }
  EXPECT_EQ(optimizer->steps().item<int64_t>(), 5);
}

TEST_P(EveryRule, GivesTheSameBitsOnAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  std::vector<std::vector<at::Tensor>> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    const core::ParameterSet parameters = make_parameters();
    bind_gradients(parameters);
    const std::unique_ptr<Optimizer> optimizer = make_optimizer(GetParam().config, parameters);
    for (int step = 0; step < 3; ++step) {
      fill_gradients(parameters, step);
      optimizer->step({0.01, {}, {}});
    }
    results.push_back(copies(parameters));
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(results[0][i].equal(results[1][i])) << i;
    EXPECT_TRUE(results[0][i].equal(results[2][i])) << i;
  }
}

TEST_P(EveryRule, ASkippedStepLeavesNoTraceButClearsTheGradients) {
  core::ParameterSet with = make_parameters(at::kBFloat16),
                     without = make_parameters(at::kBFloat16);
  bind_gradients(with);
  bind_gradients(without);
  const std::unique_ptr<Optimizer> a = make_optimizer(GetParam().config, with);
  const std::unique_ptr<Optimizer> b = make_optimizer(GetParam().config, without);
  for (int step = 0; step < 3; ++step) {
    if (step == 1) {
      fill_gradients(with, 77);
      const_cast<at::Tensor&>(with[0].tensor).mutable_grad().fill_(NAN);
      a->step({0.01, at::scalar_tensor(NAN, at::kFloat), at::ones({}, at::kFloat)});
      for (const core::Parameter& p : with)
        EXPECT_EQ(p.tensor.grad().count_nonzero().item<int64_t>(), 0) << p.name;
    }
    fill_gradients(with, step);
    fill_gradients(without, step);
    a->step({0.01, {}, {}});
    b->step({0.01, {}, {}});
  }
  MemoryState state_a, state_b;
  a->save_state(state_a);
  b->save_state(state_b);
  EXPECT_EQ(state_a.scalars, state_b.scalars);
  ASSERT_EQ(state_a.tensors.size(), state_b.tensors.size());
  for (const auto& [name, values] : state_a.tensors)
    EXPECT_TRUE(values.equal(state_b.tensors.at(name))) << name;
  for (size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(with[i].tensor.equal(without[i].tensor));
}

TEST_P(EveryRule, GoesOnExactlyFromSavedState) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    const core::ParameterSet straight = make_parameters(type), resumed = make_parameters(type);
    bind_gradients(straight);
    bind_gradients(resumed);
    const std::unique_ptr<Optimizer> a = make_optimizer(GetParam().config, straight);
    MemoryState saved;
    for (int step = 0; step < 4; ++step) {
      if (step == 2) {
        a->save_state(saved);
        for (const core::Parameter& p : straight) saved.replicated("model/" + p.name, p.tensor);
      }
      fill_gradients(straight, step);
      a->step({0.01, {}, {}});
    }
    const std::unique_ptr<Optimizer> b = make_optimizer(GetParam().config, resumed);
    {
      const at::NoGradGuard no_grad;
      for (const core::Parameter& p : resumed) p.tensor.copy_(saved.tensors.at("model/" + p.name));
    }
    b->load_state(saved);
    EXPECT_EQ(b->steps().item<int64_t>(), 2);
    for (int step = 2; step < 4; ++step) {
      fill_gradients(resumed, step);
      b->step({0.01, {}, {}});
    }
    for (size_t i = 0; i < straight.size(); ++i)
      EXPECT_TRUE(straight[i].tensor.equal(resumed[i].tensor)) << straight[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, EveryRule, testing::ValuesIn(cases()),
                         [](const auto& rule) { return rule.param.label; });

TEST(Optimizer, AdamWIsThatOfLibTorch) {
  const core::ParameterSet parameters = make_parameters();
  bind_gradients(parameters);
  OptimConfig config = named("adamw");
  config.decay_all = true;
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, parameters);
  std::vector<at::Tensor> p = copies(parameters), m, v, steps;
  for (const at::Tensor& x : p) {
    m.push_back(at::zeros_like(x));
    v.push_back(at::zeros_like(x));
    steps.push_back(at::zeros({}, at::kFloat));
  }
  for (int step = 0; step < 10; ++step) {
    fill_gradients(parameters, step);
    std::vector<at::Tensor> g;
    for (const core::Parameter& own : parameters) g.push_back(own.tensor.grad().clone());
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(p, g, m, v, {}, steps, 1e-2, 0.9, 0.95, 0.1, 1e-8, false, false, {}, {});
    optimizer->step({1e-2, {}, {}});
  }
  for (size_t i = 0; i < p.size(); ++i)
    EXPECT_TRUE(at::allclose(parameters[i].tensor, p[i], 1e-6, 1e-6)) << parameters[i].name;
}

class LowPrecision : public testing::TestWithParam<at::ScalarType> {};

TEST_P(LowPrecision, MastersTakeTheUpdatesAndParametersFollowRounded) {
  const core::ParameterSet low = make_parameters(GetParam());
  core::ParameterSet full;
  for (const core::Parameter& p : low)
    full.push_back({p.name, p.tensor.detach().to(at::kFloat).requires_grad_()});
  bind_gradients(low);
  bind_gradients(full);
  const std::unique_ptr<Optimizer> a = make_optimizer(named("adamw"), low);
  const std::unique_ptr<Optimizer> b = make_optimizer(named("adamw"), full);
  // Far below the spacing of 8 or 11 bits: without masters nothing would ever change.
  for (int step = 0; step < 20; ++step) {
    fill_gradients(low, step);
    fill_gradients(full, step);
    a->step({1e-5, {}, {}});
    b->step({1e-5, {}, {}});
  }
  MemoryState state;
  a->save_state(state);
  for (size_t i = 0; i < low.size(); ++i) {
    EXPECT_TRUE(state.tensors.at("master/" + low[i].name).equal(full[i].tensor.detach()));
    EXPECT_TRUE(low[i].tensor.detach().equal(full[i].tensor.detach().to(GetParam())));
  }
}

TEST_P(LowPrecision, RoundsAsLibTorchDoes) {
  const at::Tensor values =
      at::tensor({1.0F, -0.0F, 1.00390625F, 1.01171875F, 1e-40F, 6.1e-5F, 65519.0F, 65520.0F,
                  3.4e38F, -3.4e38F, NAN, 2.98e-8F, 3.3895314e38F});
  core::ParameterSet set = {{"p", values.to(GetParam()).requires_grad_()}};
  bind_gradients(set);
  OptimConfig config = named("sgd");
  config.momentum = 0.0;
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, set);
  MemoryState state;
  optimizer->save_state(state);
  state.tensors["master/p"] = values;
  optimizer->load_state(state);
  {
    const at::NoGradGuard no_grad;
    set[0].tensor.zero_();
  }
  optimizer->step({0.0, {}, {}});
  EXPECT_TRUE(at::allclose(set[0].tensor, values.to(GetParam()), 0.0, 0.0, true)) << set[0].tensor;
}

INSTANTIATE_TEST_SUITE_P(Types, LowPrecision, testing::Values(at::kBFloat16, at::kHalf));

TEST(Optimizer, ParametersChangedByOthersGoIntoTheMasters) {
  const core::ParameterSet set = make_parameters(at::kBFloat16);
  bind_gradients(set);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw"), set);
  {
    const at::NoGradGuard no_grad;
    set[0].tensor.fill_(3.0);
  }
  optimizer->parameters_changed();
  optimizer->step({0.0, {}, {}});
  EXPECT_TRUE(set[0].tensor.detach().eq(3.0).all().item<bool>());
}

TEST(Optimizer, AFloat32CheckpointStartsTheMastersOfALowPrecisionRun) {
  const core::ParameterSet full = make_parameters(), low = make_parameters(at::kBFloat16);
  bind_gradients(full);
  bind_gradients(low);
  MemoryState state;
  make_optimizer(named("adamw"), full)->save_state(state);
  EXPECT_FALSE(state.has("master/big"));
  {
    const at::NoGradGuard no_grad;
    low[0].tensor.fill_(3.0);
  }
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw"), low);
  optimizer->load_state(state);
  MemoryState again;
  optimizer->save_state(again);
  EXPECT_TRUE(again.tensors.at("master/big").eq(3.0).all().item<bool>());
}

TEST(Optimizer, NamesItsState) {
  const core::ParameterSet set = {{"w", at::ones({2, 3}).to(at::kBFloat16).requires_grad_()},
                                  {"frozen", at::ones({2}).requires_grad_()}};
  OptimConfig config = named("adamw");
  config.groups = {{"frozen", 1.0, {}, true}};
  MemoryState state;
  make_optimizer(config, set)->save_state(state);
  std::vector<std::string> names;
  for (const auto& [name, values] : state.tensors) names.push_back(name);
  EXPECT_THAT(names, testing::ElementsAre("master/w", "optim/moment/w", "optim/square_moment/w"));
  EXPECT_EQ(std::get<int64_t>(state.scalar("optim/steps")), 0);
}

TEST(Optimizer, MissingStateIsRefused) {
  const core::ParameterSet set = make_parameters();
  MemoryState state;
  make_optimizer(named("lion"), set)->save_state(state);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw"), set);
  try {
    optimizer->load_state(state);
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint);
  }
}

TEST(Optimizer, FrozenParametersStayAndNeedNoGradient) {
  const core::ParameterSet set = make_parameters();
  bind_gradients(set);
  const_cast<at::Tensor&>(set[1].tensor).mutable_grad() = at::Tensor();
  const std::vector<at::Tensor> before = copies(set);
  OptimConfig config = named("adamw");
  config.groups = {{"bias", 1.0, {}, true}};
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(config, set);
  fill_gradients({set[0], set[2], set[3]}, 0);
  optimizer->step({0.01, {}, {}});
  EXPECT_TRUE(set[1].tensor.equal(before[1]));
  EXPECT_FALSE(set[0].tensor.equal(before[0]));
}

TEST(Optimizer, WalksChannelsLastParameters) {
  at::manual_seed(5);
  const at::Tensor values = at::randn({4, 3, 5, 5}), gradient = at::randn({4, 3, 5, 5});
  const auto last = at::MemoryFormat::ChannelsLast;
  core::ParameterSet plain = {{"w", values.clone().requires_grad_()}};
  core::ParameterSet strided = {{"w", values.contiguous(last).requires_grad_()}};
  ASSERT_FALSE(strided[0].tensor.is_contiguous());
  MemoryState state_plain, state_strided;
  std::unique_ptr<Optimizer> a = make_optimizer(named("adamw"), plain);
  std::unique_ptr<Optimizer> b = make_optimizer(named("adamw"), strided);
  bind_gradients(plain);
  bind_gradients(strided);
  plain[0].tensor.mutable_grad().copy_(gradient);
  strided[0].tensor.mutable_grad().copy_(gradient);
  a->step({0.01, {}, {}});
  b->step({0.01, {}, {}});
  EXPECT_TRUE(plain[0].tensor.equal(strided[0].tensor));
  a->save_state(state_plain);
  b->save_state(state_strided);
  EXPECT_TRUE(
      state_plain.tensors.at("optim/moment/w").equal(state_strided.tensors.at("optim/moment/w")));
  b->load_state(state_plain);
  MemoryState again;
  b->save_state(again);
  EXPECT_TRUE(again.tensors.at("optim/moment/w").equal(state_plain.tensors.at("optim/moment/w")));
}

TEST(Optimizer, AGraphOfTheOldValuesCannotBeUsedAgain) {
  core::ParameterSet set = {{"w", at::ones({3}).requires_grad_()}};
  bind_gradients(set);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw"), set);
  const at::Tensor loss = (set[0].tensor * set[0].tensor).sum();
  optimizer->step({0.01, {}, {}});
  EXPECT_THROW(loss.backward(), c10::Error);
}

template <class F>
Error caught(const F& run) {
  try {
    run();
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(Optimizer, NamesAParameterWithoutItsGradient) {
  const core::ParameterSet set = make_parameters();
  bind_gradients(set);
  const std::unique_ptr<Optimizer> optimizer = make_optimizer(named("adamw"), set);
  const_cast<at::Tensor&>(set[1].tensor).mutable_grad() = at::Tensor();
  EXPECT_THAT(caught([&] { optimizer->step({0.01, {}, {}}); }).message(), HasSubstr("'bias'"));
  const_cast<at::Tensor&>(set[1].tensor).mutable_grad() = at::zeros({34}).slice(0, 0, 34, 2);
  EXPECT_THAT(caught([&] { optimizer->step({0.01, {}, {}}); }).message(), HasSubstr("'bias'"));
  EXPECT_EQ(optimizer->steps().item<int64_t>(), 0);
}

TEST(Optimizer, RefusesImpossibleSettings) {
  const core::ParameterSet set = make_parameters();
  OptimConfig betas = named("adamw");
  betas.betas = {0.9};
  EXPECT_EQ(caught([&] { (void)make_optimizer(betas, set); }).kind(), ErrorKind::configuration);
  betas.betas = {0.9, 1.0};
  EXPECT_THAT(caught([&] { (void)make_optimizer(betas, set); }).message(),
              HasSubstr("optim.betas"));
  OptimConfig nesterov = named("sgd");
  nesterov.nesterov = true;
  nesterov.momentum = 0.0;
  EXPECT_THAT(caught([&] { (void)make_optimizer(nesterov, set); }).message(),
              HasSubstr("nesterov"));
  const core::ParameterSet wide = {{"w", at::ones({2}, at::kDouble).requires_grad_()}};
  const Error error = caught([&] { (void)make_optimizer(named("adamw"), wide); });
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.message(), HasSubstr("'w' is of type Double"));
}

}  // namespace
}  // namespace trireme::optim

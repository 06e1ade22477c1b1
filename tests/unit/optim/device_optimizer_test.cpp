// The optimizer of devices (the CUDA back end's kernels on an emulated machine, or on the GPU)
// against the one of the CPU. Both run the rules of ops/update_rules.h in float32, but compilers
// choose by themselves which products they fuse with a sum: results agree to the last bits. What is
// stored in fewer bits may then rarely round to the neighbour.
#include <trireme/core/error.h>
#include <trireme/optim/gradient_norm.h>
#include <trireme/optim/optimizer.h>
#include <trireme/optim/weight_average.h>

#include "support/memory_state.h"
#include "unit/optim/device_under_test.h"

#include <array>
#include <barrier>
#include <cmath>
#include <mutex>
#include <optional>
#include <thread>

#include <ATen/ATen.h>

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

std::vector<Case> cases() {
  std::vector<Case> rules;
  for (const char* name : {"adamw", "adam", "adagrad", "lion", "lamb", "sgd"}) {
    rules.push_back({name, {}, at::kFloat});
    rules.back().config.name = name;
  }
  for (const char* label : {"sgd_nesterov", "sgd_plain"}) {
    rules.push_back({label, rules[5].config, at::kFloat});
    rules.back().config.nesterov = rules.size() == 7;
    if (rules.size() == 8) rules.back().config.momentum = 0.0;
  }
  std::vector<Case> all;
  for (const Case& rule : rules)
    for (const std::string state : {"fp32", "bf16"}) {
      const auto add = [&](const std::string& label, at::ScalarType type, bool masters) {
        Case one{rule.label + "_" + label + "_state_" + state, rule.config, type};
        one.config.state = state;
        one.config.masters = masters;
        one.config.groups = {{"bias", 0.5, 0.2, false}, {"frozen", 1.0, {}, true}};
        all.push_back(one);
      };
      add("float32", at::kFloat, true);
      add("bfloat16", at::kBFloat16, true);
      add("bfloat16_alone", at::kBFloat16, false);
      add("float16", at::kHalf, true);
    }
  return all;
}

/// A tensor of these values that starts `off` elements behind an aligned place.
at::Tensor shifted(const at::Tensor& values, int64_t off) {
  const at::Tensor room = at::empty({values.numel() + off}, values.options());
  return room.narrow(0, off, values.numel()).copy_(values);
}

constexpr int64_t part_begin = 65'001, part_elements = 5003;

/// Several chunks and an end that fills no group of four; edges; memory that starts or lies oddly;
/// a part of a parameter that begins anywhere and reaches into the next block of rounding; one of
/// another type.
core::ParameterSet make_parameters(at::ScalarType type, c10::Device device) {
  at::manual_seed(11);
  core::ParameterSet set = {
      {"big", at::randn({41, 503}).to(type)},
      {"bias", at::randn({17}).to(type)},
      {"frozen", at::randn({9}).to(type)},
      {"scalar", at::randn({}).to(type)},
      {"empty", at::zeros({0, 3}).to(type)},
      {"odd", at::randn({4101}).to(type)},
      {"gradient_odd", at::randn({1030}).to(type)},
      {"last", at::randn({4, 3, 5, 5}).to(type).contiguous(at::MemoryFormat::ChannelsLast)},
      {"part", at::randn({part_elements}).to(type), core::Fragment{{300, 1000}, part_begin}},
      {"wide", at::randn({3, 5})},
  };
  for (core::Parameter& p : set) {
    const at::Tensor there = p.tensor.to(device);
    p.tensor = (p.name == "odd" ? shifted(there, 1) : there).detach().requires_grad_();
    const at::TensorOptions options = at::TensorOptions(at::kFloat).device(device);
    p.tensor.mutable_grad() =
        p.name == "gradient_odd"
            ? shifted(at::zeros({1030}, options), 3)
            : at::empty_strided(p.tensor.sizes(), p.tensor.strides(), options).zero_();
  }
  return set;
}

void fill_gradients(const core::ParameterSet& parameters, int step) {
  at::manual_seed(static_cast<uint64_t>(100 + step));
  for (const core::Parameter& p : parameters) p.tensor.grad().copy_(at::randn(p.tensor.sizes()));
}

/// A set of parameters and the optimizer of the CPU, or of the device.
class Training {
 public:
  Training(const OptimConfig& config, at::ScalarType type, bool device, AddOverShards add = {})
      : parameters(make_parameters(type, device ? *device_under_test() : c10::kCPU)),
        device_(device) {
    const auto served = serve();
    optimizer = make_optimizer(config, parameters, std::move(add));
  }
  void step(int number, const StepInputs& inputs, bool whole_gradients = false) {
    fill_gradients(parameters, number);
    if (whole_gradients)
      for (const core::Parameter& p : parameters) p.tensor.grad().mul_(4.0).round_();
    const auto there = [&](const at::Tensor& scalar) {
      return scalar.defined() ? scalar.to(parameters.front().tensor.device()) : scalar;
    };
    const auto served = serve(first_order + static_cast<size_t>(number));
    optimizer->step({inputs.lr, there(inputs.gradient_scale), there(inputs.nonfinite),
                     there(inputs.device_lr)});
  }
  void step(int number) {
    step(number,
         {0.01 / (number + 1), at::scalar_tensor(0.25, at::kFloat), at::zeros({}, at::kFloat)});
  }
  /// Of the optimizer and the parameters.
  [[nodiscard]] MemoryState state() const {
    MemoryState saved;
    optimizer->save_state(saved);
    for (auto& [name, values] : saved.tensors) {  // what no part of a parameter covers is not set
      values = values.cpu();
      if (name.ends_with("/part"))
        values = values.view(-1).narrow(0, part_begin, part_elements).clone();
    }
    for (const core::Parameter& p : parameters)
      saved.replicated("model/" + p.name, p.tensor.detach().cpu().contiguous());
    return saved;
  }
  void load(const MemoryState& saved) {
    const at::NoGradGuard no_grad;
    for (const core::Parameter& p : parameters) p.tensor.copy_(saved.tensors.at("model/" + p.name));
    MemoryState whole = saved;
    for (auto& [name, values] : whole.tensors) {
      if (!name.ends_with("/part") || name.starts_with("model/")) continue;
      const at::Tensor full = at::zeros({300, 1000}, values.options());
      full.view(-1).narrow(0, part_begin, part_elements).copy_(values);
      values = full;
    }
    optimizer->load_state(whole);
  }

  void expect_cleared_gradients() const {
    for (const core::Parameter& p : parameters) {
      const bool any = p.tensor.grad().count_nonzero().item<int64_t>() > 0;
      EXPECT_EQ(any, p.name == "frozen") << p.name;
    }
  }

  core::ParameterSet parameters;
  std::unique_ptr<Optimizer> optimizer;
  size_t first_order = 0;  ///< of the device's threads; each step has the next

 private:
  [[nodiscard]] std::shared_ptr<void> serve(std::optional<size_t> order = {}) const {
    return device_ ? serve_device(order) : nullptr;
  }
  bool device_;
};

void expect_equal(const MemoryState& a, const MemoryState& b) {
  EXPECT_EQ(a.scalars, b.scalars);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, values] : a.tensors) {
    const at::Tensor& other = b.tensors.at(name);
    ASSERT_EQ(values.scalar_type(), other.scalar_type()) << name;
    EXPECT_TRUE(values.equal(other))
        << name << ": " << values.ne(other).sum().item<int64_t>() << " differ, by at most "
        << (values.to(at::kDouble) - other.to(at::kDouble)).abs().max().item<double>();
  }
}

/// Equal but for the last bits of float32; one element in a thousand may have gone to its neighbour
/// in fewer bits, or to the other side of 0 where only a sign counts.
void expect_agreement(const MemoryState& a, const MemoryState& b) {
  EXPECT_EQ(a.scalars, b.scalars);
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (const auto& [name, values] : a.tensors) {
    ASSERT_EQ(values.scalar_type(), b.tensors.at(name).scalar_type()) << name;
    const at::Tensor want = b.tensors.at(name).to(at::kDouble);
    const at::Tensor off = (values.to(at::kDouble) - want).abs();
    const at::Tensor beyond = off.le(want.abs() * 1e-6 + 2e-7).logical_not();
    EXPECT_LE(beyond.sum().item<int64_t>(), 1 + values.numel() / 1000) << name;
    EXPECT_TRUE(off.le(want.abs().clamp_min(1.0) * 0x1p-5).all().item<bool>()) << name;
  }
}

class OnDevice : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!device_under_test()) GTEST_SKIP() << "no GPU";
  }
  [[nodiscard]] Training training(bool device) const {
    return {GetParam().config, GetParam().type, device};
  }
};

TEST_P(OnDevice, UpdatesAreThoseOfTheCpu) {
  Training cpu = training(false), device = training(true);
  for (int step = 0; step < 4; ++step) {
    cpu.step(step);
    device.step(step);
    expect_agreement(device.state(), cpu.state());
    device.expect_cleared_gradients();
  }
}

TEST_P(OnDevice, ASkippedUpdateLeavesNoTraceButClearsTheGradients) {
  Training device = training(true);
  device.step(0);
  const MemoryState before = device.state();
  for (const float flag : {1.0F, NAN}) {
    device.step(1, {NAN, at::scalar_tensor(NAN, at::kFloat), at::scalar_tensor(flag, at::kFloat)});
    expect_equal(device.state(), before);
    device.expect_cleared_gradients();
  }
  Training other = training(true);
  other.step(0);
  other.step(2);
  device.step(2);
  expect_equal(device.state(), other.state());
}

TEST_P(OnDevice, DependsOnNoOrderOfThreads) {
  Training one = training(true), other = training(true);
  other.first_order = 1;
  for (int step = 0; step < 3; ++step) {
    one.step(step);
    other.step(step);
  }
  expect_equal(other.state(), one.state());
}

TEST_P(OnDevice, GoesOnExactlyFromItsCheckpoint) {
  Training straight = training(true), resumed = training(true);
  straight.step(0);
  straight.step(1);
  resumed.step(7);  // what is loaded replaces it
  resumed.load(straight.state());
  straight.step(2);
  resumed.step(2);
  expect_equal(resumed.state(), straight.state());
}

TEST_P(OnDevice, GoesOnFromACheckpointOfTheOther) {
  for (const bool device : {false, true}) {
    Training straight = training(device);
    straight.step(0);
    straight.step(1);
    Training resumed = training(!device);
    resumed.step(7);
    resumed.load(straight.state());
    expect_equal(resumed.state(), straight.state());
    straight.step(2);
    resumed.step(2);
    expect_agreement(resumed.state(), straight.state());
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, OnDevice, testing::ValuesIn(cases()),
                         [](const auto& one) { return one.param.label; });

class DeviceUpdates : public testing::Test {
 protected:
  void SetUp() override {
    if (!device_under_test()) GTEST_SKIP() << "no GPU";
  }
};

OptimConfig named(const std::string& name) {
  OptimConfig config;
  config.name = name;
  return config;
}

// One for the constants and one for all tensors; lamb has two passes and the sums between them.
TEST_F(DeviceUpdates, LaunchesLittle) {
  for (const auto& [name, launches] :
       std::vector<std::pair<std::string, uint64_t>>{{"adamw", 2}, {"sgd", 2}, {"lamb", 4}}) {
    Training device(named(name), at::kBFloat16, true);
    device.step(0);
    const std::optional<uint64_t> before = kernel_launches();
    device.step(1);
    EXPECT_EQ(kernel_launches().value_or(launches) - before.value_or(0), launches) << name;
  }
}

TEST_F(DeviceUpdates, TakesItsRateFromTheDevice) {
  for (const std::string name : {"adamw", "lamb"}) {
    Training host(named(name), at::kFloat, true), device(named(name), at::kFloat, true);
    const at::Tensor rate = at::zeros({}, at::kDouble);
    for (int step = 0; step < 3; ++step) {
      const double lr = 0.1 / (step + 3);
      host.step(step, {lr, {}, {}});
      rate.fill_(lr);
      device.step(step, {.lr = NAN, .gradient_scale = {}, .nonfinite = {}, .device_lr = rate});
    }
    expect_equal(device.state(), host.state());
  }
}

TEST_F(DeviceUpdates, FollowsMemoryThatMoved) {
  Training still(named("adamw"), at::kFloat, true), device(named("adamw"), at::kFloat, true);
  still.step(0);
  device.step(0);
  for (core::Parameter& p : device.parameters) p.tensor.mutable_grad() = p.tensor.grad().clone();
  device.parameters[0].tensor.set_data(device.parameters[0].tensor.detach().clone());
  still.step(1);
  device.step(1);
  expect_equal(device.state(), still.state());
}

TEST_F(DeviceUpdates, NamesAParameterWithoutItsGradient) {
  Training device(named("adamw"), at::kFloat, true);
  device.step(0);
  device.parameters[1].tensor.mutable_grad() = at::zeros({34}).slice(0, 0, 34, 2);
  try {
    device.optimizer->step({0.01, {}, {}});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.message(), HasSubstr("'bias'"));
  }
  EXPECT_EQ(device.optimizer->steps().item<int64_t>(), 1);
}

TEST_F(DeviceUpdates, RefusesInputsOfAnotherType) {
  Training device(named("adamw"), at::kFloat, true);
  EXPECT_ANY_THROW(device.step(0, {0.01, at::ones({}, at::kDouble), {}}));
  EXPECT_ANY_THROW(device.step(0, {0.01, at::ones({2}), {}}));
}

TEST_F(DeviceUpdates, AGraphOfTheOldValuesCannotBeUsedAgain) {
  Training device(named("adamw"), at::kFloat, true);
  const at::Tensor& w = device.parameters[0].tensor;
  const at::Tensor loss = (w * w).sum();
  device.step(0);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST_F(DeviceUpdates, ParametersChangedByOthersGoIntoTheMasters) {
  Training device(named("adamw"), at::kBFloat16, true);
  {
    const at::NoGradGuard no_grad;
    device.parameters[0].tensor.fill_(3.0);
  }
  device.optimizer->parameters_changed();
  device.step(0, {0.0, {}, {}});
  EXPECT_TRUE(device.parameters[0].tensor.detach().eq(3.0).all().item<bool>());
}

// With products that are exact nothing depends on how they are fused: the roundings are those of
// the CPU, of every element.
TEST_F(DeviceUpdates, RoundsWithTheBitsOfTheCpu) {
  OptimConfig config = named("sgd");
  config.state = "bf16";
  config.masters = false;
  config.momentum = 0.5;
  config.weight_decay = 0.0;
  Training cpu(config, at::kBFloat16, false), device(config, at::kBFloat16, true);
  for (int step = 0; step < 4; ++step) {
    cpu.step(step, {0x1p-9, at::scalar_tensor(0x1p-2, at::kFloat), {}}, /*whole_gradients=*/true);
    device.step(step, {0x1p-9, at::scalar_tensor(0x1p-2, at::kFloat), {}}, true);
  }
  expect_equal(device.state(), cpu.state());
  const at::Tensor moved = device.parameters[0].tensor.detach().cpu().ne(
      make_parameters(at::kBFloat16, c10::kCPU)[0].tensor);
  EXPECT_GT(moved.sum().item<int64_t>(), moved.numel() / 4);
}

/// The set cut in two, each half a rank of its own that steps in a thread of its own.
MemoryState train_halves(const OptimConfig& config, bool device) {
  const core::ParameterSet whole = make_parameters(at::kBFloat16, c10::kCPU);
  MemoryState state;
  std::mutex saving;
  std::array<at::Tensor, 2> sums;
  std::barrier<> all(2);
  const c10::Device where = device ? *device_under_test() : c10::kCPU;
  const auto rank = [&](size_t r) {
    const std::shared_ptr<void> served = device ? serve_device() : nullptr;
    core::ParameterSet half;
    for (const core::Parameter& p : whole) {
      if (!p.tensor.is_contiguous() || p.fragment) continue;
      const int64_t elements = p.tensor.numel(), cut = (elements * 3 + 6) / 7;
      const int64_t begin = r == 0 ? 0 : cut, count = r == 0 ? cut : elements - cut;
      const auto part = [&](const at::Tensor& all_of_it) {
        return all_of_it.detach().view(-1).narrow(0, begin, count).clone().to(where);
      };
      half.push_back(
          {p.name, part(p.tensor).requires_grad_(), core::Fragment{p.tensor.sizes().vec(), begin}});
      half.back().tensor.mutable_grad() = part(p.tensor.grad());
    }
    const auto optimizer = make_optimizer(config, half, [&, r](const at::Tensor& own) {
      sums[r] = own.to(at::kCPU, /*non_blocking=*/false, /*copy=*/true);
      all.arrive_and_wait();
      own.copy_(sums[0] + sums[1]);
      all.arrive_and_wait();
    });
    for (int step = 0; step < 3; ++step) {
      for (size_t i = 0; i < half.size(); ++i) {
        const at::Tensor& w = half[i].tensor;
        w.grad().copy_(
            at::cos(at::arange(w.numel()) * 3.1 + static_cast<double>(r + i + 2) * step));
      }
      optimizer->step({0.01, {}, {}});
    }
    const std::scoped_lock lock(saving);
    state.scalars.clear();
    optimizer->save_state(state);
    for (const core::Parameter& p : half)
      state.replicated("model/" + p.name + "/" + std::to_string(r), p.tensor.cpu());
  };
  std::thread other(rank, size_t{1});
  rank(0);
  other.join();
  for (auto& [name, values] : state.tensors) values = values.cpu();
  return state;
}

TEST_F(DeviceUpdates, LambTakesNormsOverTheRanks) {
  OptimConfig config = named("lamb");
  config.state = "bf16";
  config.masters = false;
  const MemoryState device = train_halves(config, true);
  expect_agreement(device, train_halves(config, false));
  expect_equal(device, train_halves(config, true));
}

TEST_F(DeviceUpdates, TheAverageFollowsIt) {
  Training cpu(named("adamw"), at::kBFloat16, false), device(named("adamw"), at::kBFloat16, true);
  WeightAverage of_cpu({.decay = 0.9}, cpu.parameters, *cpu.optimizer);
  WeightAverage of_device({.decay = 0.9}, device.parameters, *device.optimizer);
  for (int step = 0; step < 4; ++step) {
    const at::Tensor flag = at::full({}, step == 2 ? 1.0 : 0.0, at::kFloat);
    cpu.step(step, {0.01, {}, flag});
    of_cpu.update(step + 1, flag);
    device.step(step, {0.01, {}, flag});
    of_device.update(step + 1, flag.to(*device_under_test()));
  }
  for (size_t i = 0; i < of_cpu.values().size(); ++i)
    EXPECT_TRUE(at::allclose(of_device.values()[i].cpu(), of_cpu.values()[i], 1e-6, 1e-6))
        << cpu.parameters[i].name;
}

TEST_F(DeviceUpdates, ItsGradientsAreJudgedOnTheDevice) {
  at::manual_seed(3);
  std::vector<at::Tensor> flat;
  for (const int64_t elements : {70'001, 37, 0})
    flat.push_back(at::randn({elements}).to(*device_under_test()));
  const std::shared_ptr<void> served = serve_device();
  const std::optional<uint64_t> before = kernel_launches();
  const GradientHealth health = gradient_health(flat);
  EXPECT_GT(kernel_launches().value_or(1), before.value_or(0));
  const double want =
      (flat[0].to(at::kDouble).square().sum() + flat[1].to(at::kDouble).square().sum())
          .item<double>();
  EXPECT_EQ(health.square_sum.scalar_type(), at::kDouble);
  EXPECT_EQ(health.square_sum.dim(), 0);
  EXPECT_NEAR(health.square_sum.item<double>(), want, 1e-12 * want);
  EXPECT_EQ(health.nonfinite.item<float>(), 0.0F);
  for (const double bad : {static_cast<double>(INFINITY), static_cast<double>(NAN)}) {
    flat[1][5] = bad;
    EXPECT_EQ(gradient_health(flat).nonfinite.item<float>(), 1.0F);
  }
}

}  // namespace
}  // namespace trireme::optim

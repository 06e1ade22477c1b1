#include <trireme/comm/local.h>
#include <trireme/core/error.h>
#include <trireme/core/fragments.h>
#include <trireme/parallel/gradient_reducer.h>
#include <trireme/parallel/shard_plan.h>

#include "support/memory_state.h"
#include "unit/parallel/sharded_rank.h"

#include <mutex>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using Settings = ShardedParameters::Settings;

/// Collects the fragments of all ranks of a shard group.
class Collected {
 public:
  enum class What { values, gradients };
  void add(const ShardedParameters& parallel, What what) {
    const std::lock_guard lock(mutex_);
    for (core::Parameter p : parallel.fragments()) {
      p.fragment->saved = true;
      const at::Tensor& values = what == What::values ? p.tensor : p.tensor.grad();
      if (values.defined()) core::save_values(state_, p.name, p, values);
    }
  }
  [[nodiscard]] const std::map<std::string, at::Tensor>& tensors() const { return state_.tensors; }

 private:
  std::mutex mutex_;
  test::MemoryState state_;
};

void expect_close(const at::Tensor& got, const at::Tensor& want, double tolerance = 1e-5) {
  EXPECT_TRUE(at::allclose(got.to(at::kFloat), want.to(at::kFloat), tolerance,
                           tolerance * want.abs().max().item<double>()))
      << got << want;
}

double square_sum(const std::vector<at::Tensor>& tensors) {
  double sum = 0.0;
  for (const at::Tensor& t : tensors) sum += t.to(at::kDouble).square().sum().item<double>();
  return sum;
}

// One process without any of our machinery.
void reference_gradients(SmallNetwork& network, int ranks, int micro_steps) {
  for (int r = 0; r < ranks; ++r)
    for (int m = 0; m < micro_steps; ++m) network.loss(tokens(r, m)).backward();
}

struct Case {
  std::string name;
  int ranks;
  int shard_ranks;
  Settings settings;
  int micro_steps;
};

void PrintTo(const Case& one, std::ostream* out) {
  *out << one.name;
}

std::vector<Case> all_cases() {
  const std::vector<std::pair<std::string, Settings>> strategies = {
      {"zero1", {.whole_gradients = true}},
      {"zero2", {}},
      {"fsdp", {.free_parameters = true}},
      {"fsdp_kept", {.free_parameters = true, .free_after_forward = false}},
      {"fsdp_reduced_once", {.free_parameters = true, .whole_gradients = true}}};
  std::vector<Case> cases;
  for (const auto& [strategy, settings] : strategies)
    for (const auto& [ranks, shard_ranks] :
         {std::pair{1, 1}, {2, 2}, {3, 3}, {4, 4}, {4, 2}, {2, 1}})
      for (const int micro_steps : {1, 3})
        cases.push_back({strategy + "_" + std::to_string(shard_ranks) + "_of_" +
                             std::to_string(ranks) + "_x" + std::to_string(micro_steps),
                         ranks, shard_ranks, settings, micro_steps});
  return cases;
}

constexpr int steps = 4;

class Strategies : public testing::TestWithParam<Case> {};

TEST_P(Strategies, TrainAsOneProcessDoes) {
  const auto& [name, ranks, shard_ranks, settings, micro_steps] = GetParam();
  SmallNetwork alone;
  alone.build();
  std::vector<double> norms;
  for (int s = 0; s < steps; ++s) {
    reference_gradients(alone, ranks, micro_steps);
    std::vector<at::Tensor> gradients;
    for (const core::Parameter& p : alone.trained())
      if (p.tensor.grad().defined()) gradients.push_back(p.tensor.grad());
    norms.push_back(square_sum(gradients));
    descend(alone.trained());
  }
  const double last_loss = alone.loss(tokens(0, 0)).item<double>();

  std::vector<Collected> groups(static_cast<size_t>(ranks / shard_ranks));
  std::vector<double> losses(static_cast<size_t>(ranks));
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    Sharded mine(all, settings, shard_ranks);
    for (int s = 0; s < steps; ++s) {
      const ReduceReport report = mine.gradients(all->rank(), micro_steps);
      EXPECT_THAT(report.unused, ElementsAre("h.0.idle", "h.0.extra", "h.1.idle", "h.1.extra",
                                             "h.2.idle", "h.2.extra"));
      EXPECT_EQ(report.unused_here, report.unused);
      // The layers; the end of the table's backward shows only at the end of all.
      EXPECT_EQ(report.buckets_in_backward, 3 * micro_steps);
      ASSERT_EQ(mine.parallel.shard_ranks()->size(), shard_ranks);
      const at::Tensor norm = at::full({1}, square_sum(mine.parallel.flat()), at::kDouble);
      mine.parallel.shard_ranks()->all_reduce(norm)->wait();
      EXPECT_NEAR(norm.item<double>(), norms[static_cast<size_t>(s)],
                  1e-4 * norms[static_cast<size_t>(s)]);
      mine.step();
    }
    mine.parallel.settle();
    groups[static_cast<size_t>(all->rank() / shard_ranks)].add(mine.parallel,
                                                               Collected::What::values);
    const at::NoGradGuard no_grad;
    losses[static_cast<size_t>(all->rank())] = mine.network.loss(tokens(0, 0)).item<double>();
  });

  for (const Collected& group : groups) {
    ASSERT_EQ(group.tensors().size(), alone.parameters().size());
    for (const core::Parameter& p : alone.parameters()) {
      SCOPED_TRACE(p.name);
      expect_close(group.tensors().at(p.name), p.tensor.detach());
      EXPECT_TRUE(at::equal(group.tensors().at(p.name), groups[0].tensors().at(p.name)));
    }
  }
  for (const double loss : losses) EXPECT_EQ(loss, losses[0]);
  EXPECT_NEAR(losses[0], last_loss, 1e-4 * last_loss);
}

// Where the same sums are made in the same order.
TEST_P(Strategies, GiveTheBitsOfDdp) {
  const auto& [name, ranks, shard_ranks, settings, micro_steps] = GetParam();
  if (ranks != shard_ranks || (micro_steps > 1 && !settings.whole_gradients)) return;
  Collected cut;
  std::map<std::string, at::Tensor> whole;
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    Sharded mine(all, settings);
    SmallNetwork other;
    other.build();
    GradientReducer ddp(all, other.trained(), BucketSizes{1, 1, 1});
    for (int s = 0; s < steps; ++s) {
      (void)mine.gradients(all->rank(), micro_steps);
      mine.step();
      mine.parallel.settle();
      for (int m = 0; m < micro_steps; ++m) {
        ddp.begin_backward(m + 1 == micro_steps);
        autograd::backward(other.loss(tokens(all->rank(), m)));
      }
      (void)ddp.finish();
      descend(other.trained());
    }
    cut.add(mine.parallel, Collected::What::values);
    if (all->rank() == 0)
      for (const core::Parameter& p : other.parameters()) whole[p.name] = p.tensor.detach();
  });
  for (const auto& [parameter, values] : whole)
    EXPECT_TRUE(at::equal(cut.tensors().at(parameter), values)) << parameter;
}

INSTANTIATE_TEST_SUITE_P(All, Strategies, testing::ValuesIn(all_cases()),
                         [](const auto& instance) { return instance.param.name; });

const std::vector<Settings> three = {{.whole_gradients = true}, {}, {.free_parameters = true}};

TEST(ShardedParameters, SettingsFollowTheConfiguration) {
  ParallelConfig config;
  config.strategy = "zero1";
  const Settings zero1 = sharding_of(config, at::kBFloat16);
  EXPECT_FALSE(zero1.free_parameters);
  EXPECT_TRUE(zero1.whole_gradients);
  EXPECT_EQ(zero1.reduce, at::kBFloat16);
  config.strategy = "zero2";
  EXPECT_FALSE(sharding_of(config, at::kFloat).whole_gradients);
  EXPECT_FALSE(sharding_of(config, at::kFloat).free_parameters);
  config.strategy = "fsdp";
  EXPECT_TRUE(sharding_of(config, at::kFloat).free_parameters);
  EXPECT_TRUE(sharding_of(config, at::kFloat).free_after_forward);
  config.free_after_forward = config.reduce_every_micro_step = false;
  EXPECT_TRUE(sharding_of(config, at::kFloat).whole_gradients);
  EXPECT_FALSE(sharding_of(config, at::kFloat).free_after_forward);
}

TEST(ShardedParameters, FragmentsCoverEveryParameterOnce) {
  test::spawn_ranks(4, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, {}, 2);
    SmallNetwork alone;
    alone.build();
    const core::ParameterSet whole = alone.parameters(), &cut = mine.parallel.fragments();
    ASSERT_EQ(cut.size(), whole.size());
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ(cut[i].name, whole[i].name);
      EXPECT_EQ(cut[i].shape(), whole[i].shape());
      EXPECT_EQ(cut[i].tensor.dim(), 1);
      EXPECT_EQ(cut[i].fragment->saved, all->rank() < 2);
      EXPECT_EQ(cut[i].tensor.grad().defined(), whole[i].tensor.requires_grad());
      EXPECT_TRUE(at::equal(cut[i].tensor, whole[i].tensor.detach().reshape({-1}).narrow(
                                               0, cut[i].fragment->begin, cut[i].tensor.numel())));
    }
  });
}

TEST(ShardedParameters, RanksWithoutSamplesTakePart) {
  for (const Settings& settings : three) {
    SmallNetwork alone;
    alone.build();
    alone.loss(tokens(0, 0)).backward();
    alone.loss(tokens(1, 0)).backward();
    alone.loss(tokens(0, 1)).backward();
    Collected sums;
    test::spawn_ranks(3, [&](const comm::CommunicatorPtr& all) {
      Sharded mine(all, settings);
      for (int m = 0; m < 2; ++m) {
        const bool has = all->rank() + m < 2;
        // Rank 1 has none in the last micro-step, rank 2 at all: no rows, or rows of weight 0.
        const at::Tensor loss = all->rank() == 2
                                    ? mine.network.loss(tokens(2, m)) * 0.0
                                    : mine.network.loss(tokens(all->rank(), m, has ? 5 : 0));
        mine.micro_step(loss, m == 1);
      }
      const ReduceReport report = mine.parallel.finish();
      EXPECT_THAT(report.unused_here, Not(Contains("h.0.weight")));
      sums.add(mine.parallel, Collected::What::gradients);
    });
    for (const core::Parameter& p : alone.trained())
      if (p.tensor.grad().defined())
        expect_close(sums.tensors().at(p.name), p.tensor.grad().to_dense());
  }
}

// What is under way when a micro-step ends belongs to a unit that the next one may begin with.
TEST(ShardedParameters, AModelMayBeOneUnitOrUnitsSideBySide) {
  for (const Settings& settings : three)
    for (const std::vector<int>& layers : {std::vector<int>{0}, {0, 1}, {2, 1, 0}}) {
      const auto loss_of = [&](SmallNetwork& network, int rank, int m) {
        at::Tensor sum = at::zeros({});
        for (const int i : layers) {
          const std::vector<int64_t> shape = {
              3, std::vector<int64_t>{6, 5, 9}[static_cast<size_t>(i)]};
          sum = sum + network.layer(i)(waves(shape, rank + 3 * m + i)).square().sum();
        }
        return sum;
      };
      SmallNetwork alone;
      alone.build();
      for (int r = 0; r < 2; ++r)
        for (int m = 0; m < 3; ++m) loss_of(alone, r, m).backward();
      Collected sums;
      test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
        telemetry::Recorder recorder;
        SmallNetwork network;
        ShardedParameters parallel(ranks_of(all, 2), settings, recorder);
        network.build([&](autograd::Unit& unit) {
          for (const int i : layers)
            if (&unit == &network.layer(i)) parallel.add(unit);
        });
        for (int m = 0; m < 3; ++m) {
          const at::Tensor loss = loss_of(network, all->rank(), m);
          parallel.begin_backward(m == 2);
          autograd::backward(loss);
          parallel.end_backward();
        }
        (void)parallel.finish();
        sums.add(parallel, Collected::What::gradients);
      });
      for (const int i : layers)
        for (const core::Parameter& p : alone.layer(i).parameters())
          if (p.tensor.grad().defined()) expect_close(sums.tensors().at(p.name), p.tensor.grad());
    }
}

TEST(ShardedParameters, NamesWhatNoRankUsedAndAddsWhatOneDid) {
  for (Settings settings : three)
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      settings.reduce = type;
      Collected sums;
      test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
        Sharded mine(all, settings);
        // First all ranks, so that what is left in memory is not zero.
        for (const int users : {2, 1}) {
          mine.network.use_extra = all->rank() < users;
          const ReduceReport report = mine.gradients(all->rank(), 2);
          EXPECT_THAT(report.unused, Not(Contains("h.0.extra")));
          EXPECT_THAT(report.unused, Contains("h.0.idle"));
          EXPECT_THAT(report.unused, Contains("h.1.extra"));
          EXPECT_THAT(report.unused, Not(Contains("h.0.frozen")));
          EXPECT_EQ(testing::Matches(Contains("h.0.extra"))(report.unused_here),
                    all->rank() >= users);
          if (users == 2) mine.step();
        }
        sums.add(mine.parallel, Collected::What::gradients);
      });
      SmallNetwork alone;
      alone.build();
      alone.use_extra = true;
      reference_gradients(alone, 2, 2);
      descend(alone.trained());
      reference_gradients(alone, 1, 2);
      alone.use_extra = false;
      for (int m = 0; m < 2; ++m) alone.loss(tokens(1, m)).backward();
      for (const core::Parameter& p : alone.trained()) {
        const at::Tensor& sum = sums.tensors().at(p.name);
        if (p.tensor.grad().defined())
          expect_close(sum, p.tensor.grad(), type == at::kFloat ? 1e-5 : 3e-2);
        else
          EXPECT_EQ(sum.count_nonzero().item<int64_t>(), 0) << p.name;
      }
    }
}

TEST(ShardedParameters, SparseGradientsAloneArriveWhole) {
  for (Settings settings : three)
    for (const auto type : {at::kFloat, at::kBFloat16})
      for (const auto reduce : {at::kFloat, at::kBFloat16}) {
        settings.reduce = reduce;
        SmallNetwork alone;
        alone.build();
        alone.tied = false;
        reference_gradients(alone, 2, 2);
        Collected sums;
        test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
          Sharded mine(all, settings, 0, type);
          mine.network.tied = false;
          (void)mine.gradients(all->rank(), 2);
          sums.add(mine.parallel, Collected::What::gradients);
        });
        const bool exact = type == at::kFloat && reduce == at::kFloat;
        expect_close(sums.tensors().at("table.weight"),
                     alone.parameters()[0].tensor.grad().to_dense(), exact ? 1e-5 : 5e-2);
      }
}

TEST(ShardedParameters, LowPrecisionParametersHaveFloat32Gradients) {
  std::map<std::string, at::Tensor> want;
  for (int r = 0; r < 2; ++r)
    for (int m = 0; m < 3; ++m) {
      SmallNetwork alone(at::kBFloat16);
      alone.build();
      alone.loss(tokens(r, m)).backward();
      for (const core::Parameter& p : alone.trained()) {
        if (!p.tensor.grad().defined()) continue;
        at::Tensor& sum = want.try_emplace(p.name, at::zeros(p.tensor.sizes())).first->second;
        sum += p.tensor.grad().to(at::kFloat);
      }
    }
  for (const Settings& settings : three) {
    Collected sums;
    test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
      Sharded mine(all, settings, 0, at::kBFloat16);
      (void)mine.gradients(all->rank(), 3);
      for (const core::Parameter& p : mine.parallel.fragments()) {
        EXPECT_EQ(p.tensor.scalar_type(), at::kBFloat16);
        if (!p.tensor.grad().defined()) continue;
        EXPECT_EQ(p.tensor.grad().scalar_type(), at::kFloat);
      }
      for (const at::Tensor& flat : mine.parallel.flat()) EXPECT_EQ(flat.scalar_type(), at::kFloat);
      sums.add(mine.parallel, Collected::What::gradients);
    });
    for (const auto& [name, sum] : want) expect_close(sums.tensors().at(name), sum, 1e-6);
  }
}

TEST(ShardedParameters, GradientsMayTravelInBFloat16) {
  for (Settings settings : three)
    for (const int shard_ranks : {4, 2}) {
      SCOPED_TRACE(std::to_string(shard_ranks) + (settings.whole_gradients ? " whole" : " cut"));
      settings.reduce = at::kBFloat16;
      SmallNetwork alone;
      alone.build();
      reference_gradients(alone, 4, 2);
      Collected sums;
      test::spawn_ranks(4, [&](const comm::CommunicatorPtr& all) {
        Sharded mine(all, settings, shard_ranks);
        // What a first step leaves behind must not be in the second's sums.
        (void)mine.gradients(all->rank(), 2);
        for (const at::Tensor& flat : mine.parallel.flat()) flat.zero_();
        (void)mine.gradients(all->rank(), 2);
        EXPECT_EQ(mine.parallel.flat()[0].scalar_type(), at::kFloat);
        if (all->rank() < shard_ranks) sums.add(mine.parallel, Collected::What::gradients);
      });
      for (const core::Parameter& p : alone.trained())
        if (p.tensor.grad().defined())
          expect_close(sums.tensors().at(p.name), p.tensor.grad(), 2e-2);
    }
}

TEST(ShardedParameters, EvaluationMayComeAtAnyTimeBetweenSteps) {
  for (const Settings& settings : three)
    test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
      Sharded mine(all, settings), plain(all, settings);
      const auto evaluate = [&] {
        const at::NoGradGuard no_grad;
        (void)mine.network.loss(tokens(3, 0));
        (void)mine.network.layer(1)(at::ones({1, 5}));  // a part of the model alone
        (void)mine.network.loss(tokens(4, 0));
      };
      for (int s = 0; s < 3; ++s) {
        evaluate();
        for (Sharded* one : {&mine, &plain}) {
          (void)one->gradients(all->rank(), 2);
          one->step();
        }
      }
      evaluate();
      mine.parallel.settle();
      plain.parallel.settle();
      for (size_t i = 0; i < mine.parallel.fragments().size(); ++i)
        EXPECT_TRUE(
            at::equal(mine.parallel.fragments()[i].tensor, plain.parallel.fragments()[i].tensor));
    });
}

TEST(ShardedParameters, AWorldOfOneFreesNothing) {
  Sharded mine(comm::make_local_communicator(), {.free_parameters = true});
  SmallNetwork alone;
  alone.build();
  const core::ParameterSet whole = alone.parameters(), held = mine.network.parameters();
  for (size_t i = 0; i < whole.size(); ++i)
    EXPECT_TRUE(at::equal(held[i].tensor.detach(), whole[i].tensor.detach()));
}

}  // namespace
}  // namespace trireme::parallel

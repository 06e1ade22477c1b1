#include <trireme/comm/local.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>

#include "unit/parallel/sharded_rank.h"

#include <algorithm>
#include <cstdio>
#include <fstream>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using Settings = ShardedParameters::Settings;

const Settings fsdp{.free_parameters = true};

bool is_there(const core::Parameter& p) {
  const bool bytes = p.tensor.storage().nbytes() > 0;
  EXPECT_EQ(bytes, p.tensor.storage().data() != nullptr) << p.name;
  return bytes;
}

bool is_there(autograd::Unit& unit) {
  const core::ParameterSet set = unit.parameters();
  const bool first = is_there(set[0]);
  // Trained and frozen ones come and go together.
  for (const core::Parameter& p : set) EXPECT_EQ(is_there(p), first) << p.name;
  return first;
}

int64_t units_there(SmallNetwork& network) {
  return std::ranges::count_if(network.units(), [](autograd::Unit* u) { return is_there(*u); });
}

TEST(FreedParameters, AreThereInsideOfTheirUnitAlone) {
  for (const bool whole_gradients : {false, true})
    test::spawn_ranks(3, [&](const comm::CommunicatorPtr& all) {
      Sharded mine(all, {.free_parameters = true, .whole_gradients = whole_gradients});
      EXPECT_EQ(units_there(mine.network), 0);
      std::vector<int64_t> there;
      mine.network.probe = [&] {
        there.push_back(units_there(mine.network));
      };
      for (int step = 0; step < 3; ++step)
        for (int m = 0; m < 2; ++m) {
          there.clear();
          const at::Tensor loss = mine.network.loss(tokens(all->rank(), m));
          // The order is known from the second micro-step on; the last unit waits for its backward.
          const bool first = step == 0 && m == 0;
          EXPECT_EQ(units_there(mine.network), first ? 0 : 1);
          mine.micro_step(loss, m == 1);
          EXPECT_EQ(units_there(mine.network), 0);
          // The layers in forward, then in backward: each and the one that comes next, but not the
          // table as embedding, whose backward does without its weights.
          if (first)
            EXPECT_THAT(there, ElementsAre(1, 1, 1, 1, 1, 1));
          else
            EXPECT_THAT(there, ElementsAre(2, 2, 2, 2, 2, 1));
          if (m == 0) continue;
          (void)mine.parallel.finish();
          EXPECT_EQ(units_there(mine.network), 0);
          mine.step();
          EXPECT_EQ(units_there(mine.network), 0);
        }
    });
}

TEST(FreedParameters, EvaluationHoldsNoMoreThanTwoUnits) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, fsdp);
    (void)mine.gradients(all->rank(), 1);
    mine.step();
    std::vector<int64_t> there;
    mine.network.probe = [&] {
      there.push_back(units_there(mine.network));
    };
    const at::NoGradGuard no_grad;
    for (int pass = 0; pass < 2; ++pass) (void)mine.network.loss(tokens(all->rank(), 0));
    EXPECT_THAT(there, Each(testing::Le(2)));
    EXPECT_LE(units_there(mine.network), 1);
  });
}

TEST(FreedParameters, MayStayUntilBackward) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, {.free_parameters = true, .free_after_forward = false});
    for (int step = 0; step < 2; ++step) {
      const at::Tensor loss = mine.network.loss(tokens(all->rank(), 0));
      EXPECT_EQ(units_there(mine.network), 4);
      mine.micro_step(loss, true);
      EXPECT_EQ(units_there(mine.network), 0);
      (void)mine.parallel.finish();
      mine.step();
    }
  });
}

TEST(FreedParameters, OnlyFsdpFrees) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    for (const Settings& settings : {Settings{}, Settings{.whole_gradients = true}}) {
      Sharded mine(all, settings);
      (void)mine.gradients(all->rank(), 1);
      mine.step();
      EXPECT_EQ(units_there(mine.network), 4);
      mine.parallel.settle();
    }
  });
}

// The values that a layer sees are those of one process, whoever held them.
TEST(FreedParameters, HaveTheirValuesInsideOfForward) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, fsdp);
    SmallNetwork alone;
    alone.build();
    std::map<std::string, at::Tensor> want;
    for (const core::Parameter& p : alone.parameters()) want[p.name] = p.tensor.detach();
    int seen = 0;
    mine.network.visit = [&](const std::string& layer, const core::ParameterSet& set) {
      for (const core::Parameter& p : set)
        EXPECT_TRUE(at::equal(p.tensor.detach(), want.at(layer + "." + p.name))) << p.name;
      ++seen;
    };
    (void)mine.gradients(all->rank(), 2);
    EXPECT_EQ(seen, 6);
  });
}

TEST(FreedParameters, UnitsWithoutBackwardAreFreedAtItsEnd) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    Sharded mine(all, {.free_parameters = true, .free_after_forward = false});
    for (int step = 0; step < 2; ++step) {
      // The second layer is called in vain, the third not at all.
      const at::Tensor h = mine.network.layer(0)(mine.network.table()(tokens(all->rank(), 0)));
      const at::Tensor vain = mine.network.layer(1)(h);
      mine.micro_step(h.square().sum(), true);
      const ReduceReport report = mine.parallel.finish();
      EXPECT_THAT(report.unused, testing::IsSupersetOf({"h.1.weight", "h.1.bias", "h.2.weight"}));
      EXPECT_EQ(units_there(mine.network), 0);
      mine.step();
    }
  });
}

// Which of its calls runs backward decides whether the parameters are needed there.
TEST(FreedParameters, AreThereForTheBackwardOfACallBeforeOneInVain) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    for (const bool free : {false, true}) {
      Sharded mine(all, {.free_parameters = free});
      for (int step = 0; step < 2; ++step) {
        const at::Tensor logits = mine.network.table()(mine.network.hidden(tokens(0, 0)));
        const at::Tensor vain = mine.network.table()(tokens(1, 0));
        mine.micro_step(logits.square().sum(), true);
        EXPECT_THAT(mine.parallel.finish().unused, testing::Not(testing::Contains("table.weight")));
        mine.step();
      }
    }
  });
}

TEST(Traffic, IsWhatTheStrategyMoves) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
    for (const bool free : {false, true}) {
      Sharded mine(all, {.free_parameters = free});
      int64_t trained = 0, held = 0;
      for (const at::Tensor& flat : mine.parallel.flat()) trained += 2 * 4 * flat.numel();
      for (autograd::Unit* unit : mine.network.units()) {
        std::vector<int64_t> trained_sizes, frozen_sizes;
        for (const core::Parameter& p : unit->parameters())
          (p.tensor.requires_grad() ? trained_sizes : frozen_sizes).push_back(p.tensor.numel());
        held +=
            4 * (plan_shards(trained_sizes, 2).elements + plan_shards(frozen_sizes, 2).elements);
      }
      EXPECT_LT(trained, held);
      (void)mine.gradients(all->rank(), 1);
      mine.step();
      const ReduceReport report = mine.gradients(all->rank(), 1);
      const int64_t agreement = 4 * static_cast<int64_t>(mine.network.trained().size());
      // Each unit's gradients once, and its parameters: trained ones once where they stay; where
      // they are freed, layers whole for forward and for backward, and the table for its two
      // forwards: it stays from head to the head's backward, and that of an embedding needs none.
      EXPECT_EQ(report.bytes - agreement - trained, free ? 2 * held : trained);
      EXPECT_EQ(report.calls, free ? 1 + 4 + (2 + 3 * 2 * 2) : 1 + 4 + 4);
      EXPECT_GT(report.busy_ns, 0);
      EXPECT_GE(report.exposed_ns, 0);
    }
  });
}

std::string logged_by(const std::function<void()>& work) {
  const std::string path = testing::TempDir() + "trireme_sharded_memory_test.log";
  log::configure({.console = false, .file = path});
  work();
  log::flush();
  log::configure({});
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::remove(path.c_str());
  return text;
}

TEST(FreedParameters, AKeptReferenceIsWarnedOfOnce) {
  const std::string text = logged_by([] {
    test::spawn_ranks(2, [](const comm::CommunicatorPtr& all) {
      Sharded mine(all, fsdp);
      at::Tensor kept;
      if (all->rank() == 0)
        mine.network.visit = [&](const std::string& layer, const core::ParameterSet& set) {
          if (layer == "h.1") kept = set[0].tensor.detach().t();
        };
      for (int step = 0; step < 3; ++step) {
        (void)mine.gradients(all->rank(), 1);
        mine.step();
      }
    });
  });
  const size_t first = text.find("unit 'h.1': something keeps references");
  EXPECT_NE(first, std::string::npos) << text;
  EXPECT_EQ(text.find("keeps references", first + 40), std::string::npos) << text;
}

TEST(FreedParameters, NothingIsWarnedOfOtherwise) {
  const std::string text = logged_by([] {
    for (const Settings& settings :
         {fsdp, Settings{}, Settings{.free_parameters = true, .whole_gradients = true}})
      test::spawn_ranks(4, [&](const comm::CommunicatorPtr& all) {
        Sharded mine(all, settings, 2);
        for (int step = 0; step < 20; ++step) {
          for (int m = 0; m < 2; ++m) {
            const at::Tensor loss = mine.network.loss(tokens(all->rank(), m));
            mine.micro_step(loss, m == 1);
            if (m == 0) continue;
            (void)mine.parallel.finish();  // the loss is still alive
          }
          mine.step();
          const at::NoGradGuard no_grad;
          (void)mine.network.loss(tokens(all->rank(), 0));
        }
      });
  });
  EXPECT_THAT(text, Not(HasSubstr("references"))) << text;
}

}  // namespace
}  // namespace trireme::parallel

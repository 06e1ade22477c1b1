#include <trireme/report/rank_reducer.h>
#include <trireme/report/run_totals.h>

#include "support/spawn_ranks.h"

#include <array>
#include <atomic>
#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

using telemetry::Phase;

telemetry::StepRecord step_of(double seconds, double data, int64_t rss) {
  telemetry::StepRecord record;
  record.seconds = seconds;
  record.phases[index_of(Phase::data)] = data;
  record.phases[index_of(Phase::other)] = seconds - data;
  record.comm_busy_seconds = seconds / 4;
  record.comm_bytes = 100;
  record.comm_calls = 2;
  record.memory.rss = rss;
  return record;
}

TEST(RankRow, TimesAreMeansAndMemoryIsTheMost) {
  const std::array steps{step_of(1, 0.5, 10), step_of(3, 0.1, 30), step_of(2, 0.3, 20)};
  const RankRow row = row_of(steps);
  EXPECT_DOUBLE_EQ(row[index_of(Item::step_seconds)], 2);
  EXPECT_DOUBLE_EQ(row[index_of(Phase::data)], 0.3);
  EXPECT_DOUBLE_EQ(row[index_of(Item::comm_busy_seconds)], 0.5);
  EXPECT_DOUBLE_EQ(row[index_of(Item::comm_bytes)], 100);
  EXPECT_EQ(row[index_of(Item::rss)], 30);
  EXPECT_EQ(row[index_of(Item::steps)], 3);
  EXPECT_EQ(row_of({})[index_of(Item::step_seconds)], 0);
  EXPECT_EQ(row_of({})[index_of(Item::steps)], 0);
}

TEST(RankRow, PhasesAddUpToTheStepAndMemoryKindsToThePeak) {
  telemetry::StepRecord step = step_of(2, 0.5, 10);
  step.step_peak = 1000;
  const MemoryKinds kinds{
      .parameters = 300, .gradients = 300, .optimizer = 100, .activations = 150};
  const MemoryKinds too_much{
      .parameters = 300, .gradients = 300, .activations = 900, .batches = 50};
  for (const MemoryKinds& known : {kinds, too_much}) {
    const RankRow row = row_of(std::array{step}, {.memory = known});
    double phases = 0, bytes = 0;
    for (size_t i = 0; i < telemetry::phase_count; ++i) phases += row[i];
    for (size_t i = index_of(Item::parameters); i <= index_of(Item::other_memory); ++i) {
      EXPECT_GE(row[i], 0);
      bytes += row[i];
    }
    EXPECT_NEAR(phases, row[index_of(Item::step_seconds)], 0.02 * phases);
    EXPECT_EQ(bytes, 1000);
    EXPECT_EQ(bytes, row[index_of(Item::peak)]);
  }
  EXPECT_EQ(row_of(std::array{step}, {.memory = kinds})[index_of(Item::other_memory)], 150);
  EXPECT_EQ(row_of(std::array{step}, {.memory = too_much})[index_of(Item::activations)], 350);
}

TEST(RankRow, HiddenCommunicationIsWhatTheStepDidNotWaitFor) {
  telemetry::StepRecord step = step_of(4, 0.5, 10);
  EXPECT_DOUBLE_EQ(row_of(std::array{step})[index_of(Item::comm_hidden_seconds)], 1);
  step.phases[index_of(Phase::comm_exposed)] = 0.25;
  EXPECT_DOUBLE_EQ(row_of(std::array{step})[index_of(Item::comm_hidden_seconds)], 0.75);
  step.phases[index_of(Phase::comm_exposed)] = 3;
  EXPECT_DOUBLE_EQ(row_of(std::array{step})[index_of(Item::comm_hidden_seconds)], 0);
}

TEST(RankRow, TheHighestPeakIsAlsoThatOutsideOfSteps) {
  telemetry::StepRecord before = step_of(1, 0, 0), after = before;
  before.step_peak = 300;
  before.memory.peak = 300;
  after.step_peak = 100;
  after.memory.peak = 900;  // of an evaluation between the two
  const RankRow row = row_of(std::array{before, after});
  EXPECT_EQ(row[index_of(Item::peak)], 300);
  EXPECT_EQ(row[index_of(Item::peak_ever)], 900);
  RowSum sum;
  sum.add(row);
  sum.add(row_of(std::array{before}));
  EXPECT_EQ(sum.row()[index_of(Item::peak_ever)], 900);
}

TEST(Typical, IsNotMovedByAFewSlowSteps) {
  EXPECT_EQ(typical_of({}), 0);
  EXPECT_EQ(typical_of(std::array{3.0}), 3);
  EXPECT_EQ(typical_of(std::array{3.0, 4.0}), 3.5);
  EXPECT_EQ(typical_of(std::array{1.0, 1.0, 1.0, 900.0, 1.0, 1.0, 1.0, 900.0, 1.0, 1.0}), 1);
  std::vector<double> many(10001, 2.0);
  many[70] = 1e9;
  EXPECT_EQ(typical_of(many), 2);
}

TEST(RowSum, MemoryKindsAreThoseOfTheFullestMoment) {
  telemetry::StepRecord small = step_of(1, 0, 0), large = small;
  small.step_peak = 100;
  large.step_peak = 200;
  for (const bool large_first : {false, true}) {
    RowSum sum;
    const RankRow a =
        row_of(std::array{small}, {.flops = 6, .memory = MemoryKinds{.parameters = 90}});
    const RankRow b = row_of(std::array{large}, {.memory = MemoryKinds{.parameters = 50}});
    sum.add(large_first ? b : a);
    sum.add(large_first ? a : b);
    const RankRow row = sum.row();
    EXPECT_EQ(row[index_of(Item::peak)], 200);
    EXPECT_EQ(row[index_of(Item::parameters)], 50);
    EXPECT_EQ(row[index_of(Item::other_memory)], 150);
    EXPECT_EQ(row[index_of(Item::flops)], 6) << "of the window that knows it";
    EXPECT_TRUE(std::isnan(row[index_of(Item::celsius)]));
  }
}

TEST(RankReducer, RankZeroReceivesAllRowsAndNobodyElse) {
  for (const int ranks : {1, 2, 3, 5}) {
    std::atomic<int> windows{0};
    test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& communicator) {
      const int rank = communicator->rank();
      RankReducer reducer(communicator);
      for (int round = 0; round < 2; ++round) {
        RankRow mine{};
        mine.fill(10.0 * rank + round);
        const auto window = reducer.reduce(mine);
        EXPECT_EQ(window.has_value(), rank == 0);
        if (!window) continue;
        ++windows;
        ASSERT_EQ(window->rows.size(), static_cast<size_t>(ranks));
        for (const telemetry::Spread& spread : window->items) {
          EXPECT_EQ(spread.min, round);
          EXPECT_EQ(spread.max, 10.0 * (ranks - 1) + round);
          EXPECT_EQ(spread.max_rank, ranks - 1);
          EXPECT_DOUBLE_EQ(spread.mean, 5.0 * (ranks - 1) + round);
        }
      }
    });
    EXPECT_EQ(windows, 2);
  }
}

TEST(RankReducer, ItemsKeepTheirPlaces) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& communicator) {
    RankRow mine{};
    for (size_t item = 0; item < item_count; ++item)
      mine[item] = static_cast<double>(item) * (communicator->rank() == 1 ? 2 : 1);
    const auto window = RankReducer(communicator).reduce(mine);
    if (!window) return;
    for (size_t item = 1; item < item_count; ++item) {
      EXPECT_EQ(window->items[item].min, static_cast<double>(item));
      EXPECT_EQ(window->items[item].max, 2 * static_cast<double>(item));
      EXPECT_EQ(window->items[item].max_rank, 1);
    }
  });
}

TEST(Hosts, ComeFromTheWorld) {
  const std::vector<comm::RankInfo> ranks{{.host = "n1"}, {.host = "n2"}};
  EXPECT_THAT(hosts_of(ranks), testing::ElementsAre("n1", "n2"));
}

TEST(RunTotals, WeightsWindowsByTheirSteps) {
  RunTotals totals;
  const std::array one{step_of(1, 0.2, 50)};
  const std::array three{step_of(2, 0.6, 10), step_of(2, 0.6, 10), step_of(2, 0.6, 10)};
  totals.add(window_of({row_of(one), row_of(one)}));
  totals.add(window_of({row_of(three), row_of(three)}));
  const RankRow row = totals.rows().at(1);
  EXPECT_EQ(row[index_of(Item::steps)], 4);
  EXPECT_DOUBLE_EQ(row[index_of(Item::step_seconds)], 1.75);
  EXPECT_DOUBLE_EQ(row[index_of(Phase::data)], 0.5);
  EXPECT_EQ(row[index_of(Item::rss)], 50);
}

TEST(RunTotals, ReportHasEveryRankAndTheVerdict) {
  RunTotals totals;
  const std::array fast{step_of(2, 0.5, 10)};
  const std::array slow{step_of(2, 1.5, 20)};
  totals.add(window_of({row_of(fast), row_of(slow)}));
  const std::vector<std::string> hosts{"n1", "n2"};
  const auto json = nlohmann::json::parse(totals.report_json(hosts, 3));
  EXPECT_EQ(json.at("schema"), 1);
  EXPECT_EQ(json.at("attempt"), 3);
  EXPECT_EQ(json.at("steps"), 1);
  EXPECT_EQ(json.at("phases").at("data").at("max_host"), "n2");
  EXPECT_EQ(json.at("memory").at("rss").at("max"), 20);
  ASSERT_EQ(json.at("ranks").size(), 2U);
  const auto& second = json.at("ranks").at(1);
  EXPECT_EQ(second.at("rank"), 1);
  EXPECT_EQ(second.at("host"), "n2");
  EXPECT_EQ(second.at("phases").size(), telemetry::phase_count);
  EXPECT_DOUBLE_EQ(second.at("data_wait").at("share"), 0.75);
  EXPECT_DOUBLE_EQ(second.at("communication").at("busy_seconds"), 0.5);
  EXPECT_EQ(second.at("memory").at("rss"), 20);
  EXPECT_EQ(json.at("verdict").at("kind"), "input-bound");
  EXPECT_EQ(json.at("verdict").at("rank"), 1);
  EXPECT_EQ(json.at("verdict").at("host"), "n2");
  EXPECT_DOUBLE_EQ(json.at("verdict").at("evidence").at("data_share"), 0.5);
}

TEST(RunTotals, AReportWithoutStepsSaysSo) {
  const auto json = nlohmann::json::parse(RunTotals().report_json({}, 1));
  EXPECT_EQ(json.at("verdict").at("kind"), "unknown");
  EXPECT_TRUE(json.at("verdict").at("rank").is_null());
  EXPECT_TRUE(json.at("ranks").empty());
}

}  // namespace
}  // namespace trireme::report

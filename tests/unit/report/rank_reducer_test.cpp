#include <trireme/report/rank_reducer.h>
#include <trireme/report/run_totals.h>

#include "support/spawn_ranks.h"

#include <array>
#include <atomic>
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
  EXPECT_EQ(row_of({}), RankRow{});
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

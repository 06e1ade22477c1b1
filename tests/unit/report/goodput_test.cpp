#include <trireme/core/wall_clock.h>
#include <trireme/report/goodput.h>

#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

using telemetry::Phase;
using Json = nlohmann::json;

/// Two ranks; steps of 1 s: the critical rank 1 waits 0.1 s for data and 0.05 s for transfers and
/// saves for 0.05 s; rank 0 waits for it.
Window window() {
  std::vector<RankRow> rows(2);
  rows[0][index_of(Phase::forward)] = 0.4;
  rows[0][index_of(Phase::comm_exposed)] = 0.6;
  rows[1][index_of(Phase::forward)] = 0.8;
  rows[1][index_of(Phase::data)] = 0.1;
  rows[1][index_of(Phase::comm_exposed)] = 0.05;
  rows[1][index_of(Phase::checkpoint)] = 0.05;
  for (RankRow& row : rows) {
    row[index_of(Item::step_seconds)] = 1;
    row[index_of(Item::steps)] = 10;
  }
  return window_of(rows);
}

double sum(const Goodput& g) {
  return g.useful + g.startup + g.checkpoint + g.evaluation + g.waiting + g.other + g.lost + g.down;
}

TEST(Goodput, PartsExcludeEachOtherAndAddUpToTheWall) {
  GoodputLedger ledger("", 1, std::nullopt, 1000);
  ledger.first_step(1020);
  ledger.add(window(), 10, 1030);
  ledger.evaluation(5, 1035);
  ledger.add(window(), 20, 1045);
  ledger.checkpoint(3, 1048);
  ledger.finish(true, 1050);
  const Goodput all = ledger.totals();
  EXPECT_DOUBLE_EQ(all.wall, 50);
  EXPECT_DOUBLE_EQ(all.startup, 20);
  EXPECT_DOUBLE_EQ(all.useful, 16);
  EXPECT_DOUBLE_EQ(all.waiting, 3);
  EXPECT_DOUBLE_EQ(all.checkpoint, 1 + 3);
  EXPECT_DOUBLE_EQ(all.evaluation, 5);
  EXPECT_DOUBLE_EQ(all.other, 2);
  EXPECT_NEAR(sum(all), all.wall, 0.02 * all.wall);
  EXPECT_DOUBLE_EQ(all.goodput(), 16.0 / 50);
}

TEST(Goodput, WorkAfterTheCheckpointIsLostAndTheGapIsDown) {
  GoodputLedger first("", 1, std::nullopt, 1000);
  first.first_step(1010);
  for (int64_t step = 10; step <= 100; step += 10)
    first.add(window(), step, 1010 + static_cast<double>(step));
  GoodputLedger second(first.json(), 2, 65, 1200);  // killed at 1110
  second.first_step(1215);
  second.add(window(), 75, 1225);
  const Goodput all = second.totals();
  EXPECT_DOUBLE_EQ(all.wall, 225);
  EXPECT_NEAR(all.lost, 0.8 * 35, 1e-9);
  EXPECT_NEAR(all.useful, 0.8 * (65 + 10), 1e-9);
  EXPECT_DOUBLE_EQ(all.down, 90);
  EXPECT_DOUBLE_EQ(all.startup, 25);
  EXPECT_NEAR(sum(all), all.wall, 0.02 * all.wall);

  // The next attempt falls back behind both.
  const GoodputLedger third(second.json(), 3, 60, 1300);
  EXPECT_NEAR(third.totals().useful, 0.8 * 60, 1e-9);
  EXPECT_NEAR(third.totals().lost, 0.8 * (40 + 10), 1e-9);
  const Json json = Json::parse(third.json(/*marks=*/false));
  ASSERT_EQ(json.at("attempts").size(), 3U);
  EXPECT_EQ(json.at("attempts")[1].at("from_step"), 65);
  EXPECT_EQ(json.at("attempts")[1].at("down_seconds"), 90);
  EXPECT_FALSE(json.at("attempts")[0].contains("marks"));
  for (const char* key : {"wall_seconds", "useful_seconds", "startup_seconds", "checkpoint_seconds",
                          "evaluation_seconds", "waiting_seconds", "other_seconds", "lost_seconds",
                          "down_seconds", "goodput"})
    EXPECT_TRUE(json.at(key).is_number()) << key;
}

TEST(Goodput, ARunThatWasDoneIsNotDown) {
  GoodputLedger first("", 1, std::nullopt, 1000);
  first.add(window(), 10, 1015);
  first.finish(true, 1015);
  EXPECT_DOUBLE_EQ(first.totals().startup, 5) << "told by the first window";
  const GoodputLedger more(first.json(), 2, 10, 90000);
  EXPECT_DOUBLE_EQ(more.totals().down, 0);
  EXPECT_DOUBLE_EQ(more.totals().useful, 8);
  const GoodputLedger anew(first.json(), 2, std::nullopt, 90000);
  EXPECT_DOUBLE_EQ(anew.totals().wall, 0);
}

TEST(Goodput, AStartFromNothingLosesAllThatWasNotDone) {
  GoodputLedger first("", 1, std::nullopt, 1000);
  first.add(window(), 10, 1015);
  const GoodputLedger second(first.json(), 2, std::nullopt, 1100);
  EXPECT_DOUBLE_EQ(second.totals().lost, 8);
  EXPECT_DOUBLE_EQ(second.totals().useful, 0);
  EXPECT_DOUBLE_EQ(second.totals().down, 85);
}

TEST(Goodput, ManyWindowsKeepFewMarks) {
  GoodputLedger ledger("", 1, std::nullopt, 0);
  for (int64_t step = 10; step <= 100000; step += 10)
    ledger.add(window(), step, static_cast<double>(step));
  EXPECT_LT(ledger.json().size(), 16000U);
  const GoodputLedger next(ledger.json(), 2, 50000, 100000);
  EXPECT_NEAR(next.totals().lost, 0.8 * 50000, 1);
}

TEST(Goodput, ASignOfLifeMovesTheEnd) {
  GoodputLedger first("", 1, std::nullopt, 1000);
  first.add(window(), 10, 1015);
  first.seen(1060);
  first.seen(1050);
  EXPECT_DOUBLE_EQ(first.totals().wall, 60);
  EXPECT_DOUBLE_EQ(first.totals().useful, 8);
  const GoodputLedger second(first.json(), 2, 10, 1100);
  EXPECT_DOUBLE_EQ(second.totals().down, 40);
}

TEST(Goodput, ADamagedLedgerIsForgotten) {
  for (const char* text : {"", "{", "[]", "{\"attempts\": [{}]}", "{\"attempts\": 3}"})
    EXPECT_DOUBLE_EQ(GoodputLedger(text, 4, 10, 500).totals().wall, 0) << text;
}

TEST(Goodput, TheProcessStartedAMomentAgo) {
  const double age = wall_clock_seconds() - process_started();
  EXPECT_GE(age, 0);
  EXPECT_LT(age, 24 * 3600);
}

}  // namespace
}  // namespace trireme::report

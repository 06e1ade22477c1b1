#include <trireme/report/history.h>
#include <trireme/report/loss_curve.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace trireme::report {
namespace {

using telemetry::Phase;
using Json = nlohmann::json;

Window window(double forward, double rss) {
  std::vector<RankRow> rows(2);
  for (size_t rank = 0; rank < 2; ++rank) {
    rows[rank].fill(std::numeric_limits<double>::quiet_NaN());
    rows[rank][index_of(Phase::forward)] = forward + static_cast<double>(rank);
    rows[rank][index_of(Item::rss)] = rss;
    rows[rank][index_of(Item::steps)] = 10;
  }
  return window_of(rows);
}

TEST(History, HoldsRunsOfAnyLengthInFewBins) {
  for (const int64_t windows : {1, 2, 127, 128, 129, 200, 256, 257, 1000, 10007}) {
    History history;
    for (int64_t i = 1; i <= windows; ++i)
      history.add(window(static_cast<double>(i), static_cast<double>(i)), 10 * i);
    ASSERT_LE(history.bins().size(), History::capacity);
    EXPECT_GE(history.bins().size(), std::min<size_t>(static_cast<size_t>(windows), 64));
    int64_t counted = 0;
    for (const History::Bin& bin : history.bins()) {
      // Bins are neighbours; means are those of the windows between them, memory is the last.
      const int64_t first = counted + 1;
      counted += bin.windows;
      EXPECT_EQ(bin.last_step, 10 * counted);
      const RankRow row = bin.ranks[1].row();
      EXPECT_NEAR(row[index_of(Phase::forward)], static_cast<double>(first + counted) / 2 + 1,
                  1e-6);
      EXPECT_EQ(row[index_of(Item::rss)], static_cast<double>(counted));
    }
    EXPECT_EQ(counted, windows);
  }
}

TEST(History, JsonHasTheItemsThatAreKnown) {
  History history;
  EXPECT_EQ(Json::parse(history.json()),
            Json({{"steps", Json::array()}, {"ranks", 0}, {"items", Json::object()}}));
  history.add(window(0.25, 4096), 10);
  history.add(window(0.125, 123456789012), 20);
  const Json json = Json::parse(history.json());
  EXPECT_EQ(json.at("steps"), Json({10, 20}));
  EXPECT_EQ(json.at("ranks"), 2);
  EXPECT_EQ(json.at("items"), Json({{"forward", {{0.25, 1.25}, {0.125, 1.125}}},
                                    {"rss", {{4096, 4096}, {1.235e11, 1.235e11}}}}))
      << "four digits";
}

TEST(History, LeavesOutWhatIsNothing) {
  History history;
  history.add(window(0, 4096), 10);  // rank 1 has 1 s
  history.add(window(-1, 4096), 20);
  Window nothing = window(0, 0);
  for (RankRow& row : nothing.rows) row[index_of(Phase::graph)] = 0;
  history.add(nothing, 30);
  const Json items = Json::parse(history.json()).at("items");
  EXPECT_FALSE(items.contains("graph"));
  EXPECT_EQ(items.at("forward").at(0).at(0), 0);
}

TEST(History, OfManyRanksStaysSmall) {
  History history;
  for (int64_t bin = 1; bin <= 128; ++bin) {
    std::vector<RankRow> rows(512);
    for (size_t rank = 0; rank < rows.size(); ++rank)
      for (size_t item = 0; item < item_count; ++item)
        rows[rank][item] = 1.0 / static_cast<double>(3 + item + rank + static_cast<size_t>(bin));
    for (RankRow& row : rows) row[index_of(Item::steps)] = 10;
    history.add(window_of(rows), 10 * bin);
  }
  ASSERT_EQ(history.bins().size(), 128U);
  const std::string text = history.json();
  EXPECT_LT(text.size(), 5'000'000U);
  const Json json = Json::parse(text);
  EXPECT_EQ(json.at("ranks"), 512);
  EXPECT_EQ(json.at("steps").back(), 1280);
  ASSERT_EQ(json.at("items").size(), telemetry::phase_count + history_items.size());
  for (const Json& item : json.at("items")) {
    EXPECT_EQ(item.size(), json.at("steps").size());
    EXPECT_EQ(item.back().size(), 512U);
  }
}

TEST(LossCurve, MeansOfEquallyManyLosses) {
  LossCurve curve;
  for (int64_t step = 1; step <= 5000; ++step) curve.add(step, static_cast<double>(step));
  EXPECT_LE(curve.points().size(), LossCurve::capacity);
  int64_t before = 0;
  for (const LossPoint& point : curve.points()) {
    EXPECT_NEAR(point.mean, static_cast<double>(before + 1 + point.step) / 2, 1e-9);
    EXPECT_EQ(point.count, point.step - before);
    before = point.step;
  }
  EXPECT_EQ(before, 5000);
}

TEST(LossCurve, LossesThatAreNotFiniteAreCountedAndSpareTheMeans) {
  LossCurve curve;
  for (int64_t step = 1; step <= 5000; ++step)
    curve.add(step, step == 7 || step == 8    ? std::numeric_limits<double>::quiet_NaN()
                    : step > 4000 && step % 2 ? std::numeric_limits<double>::infinity()
                                              : 3.0);
  int64_t bad = 0, all = 0;
  for (const LossPoint& point : curve.points()) {
    EXPECT_NEAR(point.mean, 3, 1e-9);
    bad += point.not_finite;
    all += point.count;
  }
  EXPECT_EQ(bad, 2 + 500);
  EXPECT_EQ(all, 5000);
  EXPECT_EQ(curve.points().front().first_not_finite, 7);
  LossPoint lost;
  lost.add(1, std::nan(""));
  EXPECT_TRUE(std::isnan(lost.mean));
}

}  // namespace
}  // namespace trireme::report

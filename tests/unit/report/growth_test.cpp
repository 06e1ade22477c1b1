#include <trireme/report/growth.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::report {
namespace {

constexpr double mib = 1 << 20;

std::optional<Growth> growth_of(int64_t windows, int64_t every,
                                const std::function<double(int64_t)>& bytes_at) {
  LowSeries series;
  for (int64_t window = 1; window <= windows; ++window)
    series.add(window * every, bytes_at(window * every));
  return steady_growth(series.points());
}

TEST(Growth, OneMebibyteAStepIsFound) {
  for (const int64_t every : {1, 10, 50})
    for (const int64_t windows : {100, 1000, 5000}) {
      std::mt19937_64 random(static_cast<uint64_t>(windows));
      std::normal_distribution<double> noise(0, 4 * mib);
      const auto growth = growth_of(windows, every, [&](int64_t step) {
        return 900 * mib + mib * static_cast<double>(step) + noise(random);
      });
      ASSERT_TRUE(growth) << windows << " windows of " << every;
      EXPECT_NEAR(growth->per_step / mib, 1, 0.3);
      EXPECT_GT(growth->from_step, 0);
      EXPECT_EQ(growth->to_step, windows * every);
    }
}

TEST(Growth, AStartThatEndsIsNone) {
  for (const int64_t windows : {20, 30, 60, 100, 1000, 5000}) {
    EXPECT_FALSE(growth_of(windows, 10, [](int64_t step) {
      return mib * std::min(800.0, 10.0 * static_cast<double>(step));
    })) << windows;
    EXPECT_FALSE(growth_of(windows, 10, [](int64_t step) {
      return 500 * mib + 400 * mib * (1 - std::exp(-static_cast<double>(step) / 100));
    })) << windows;
    EXPECT_FALSE(growth_of(windows, 10, [](int64_t step) {
      return 500 * mib + 40 * mib * std::log(static_cast<double>(step));
    })) << windows;
  }
}

TEST(Growth, SawToothsStepsAndNoiseAreNone) {
  for (const int64_t windows : {40, 100, 777, 3000}) {
    const int64_t length = windows * 10;
    for (const int64_t teeth : {5, 8, 30})
      EXPECT_FALSE(growth_of(windows, 10,
                             [&](int64_t step) {
                               return 500 * mib + 500 * mib *
                                                      static_cast<double>(step % (length / teeth)) /
                                                      static_cast<double>(length / teeth);
                             }))
          << windows << " windows, " << teeth << " teeth";
    EXPECT_FALSE(growth_of(
        windows, 10, [&](int64_t step) { return step < length / 2 ? 500 * mib : 900 * mib; }));
    for (uint64_t seed = 1; seed <= 50; ++seed) {
      std::mt19937_64 random(seed);
      std::normal_distribution<double> noise(0, 30 * mib);
      EXPECT_FALSE(growth_of(windows, 10, [&](int64_t) { return 800 * mib + noise(random); }));
    }
  }
}

TEST(Growth, LittleIsNone) {
  EXPECT_FALSE(growth_of(
      200, 10, [](int64_t step) { return 500 * mib + 1000 * static_cast<double>(step); }));
  // 2 % of a full memory.
  EXPECT_FALSE(growth_of(100, 10, [](int64_t step) {
    return 60 * 1024 * mib + 0.5 * mib * static_cast<double>(step);
  }));
}

TEST(LowSeries, KeepsTheLowsOfALongRunInFewPoints) {
  LowSeries series;
  for (int64_t step = 1; step <= 100000; ++step)
    series.add(step, step == 70001 ? -1.0 : static_cast<double>(step % 10) + 1);
  EXPECT_LE(series.points().size(), LowSeries::capacity);
  EXPECT_GE(series.points().size(), LowSeries::capacity / 2);
  EXPECT_EQ(series.points().back().step, 100000);
  int64_t before = 0;
  double low = 9;
  for (const LowSeries::Point& point : series.points()) {
    EXPECT_GT(point.step, before);
    before = point.step;
    low = std::min(low, point.value);
  }
  EXPECT_EQ(low, -1);
}

TEST(LeakDetector, TellsEachLeakOnce) {
  LeakDetector detector;
  std::vector<Leak> told;
  for (int64_t step = 10; step <= 2000; step += 10) {
    std::vector<RankRow> rows(3);
    for (RankRow& row : rows) {
      row[index_of(Item::allocated)] = 100 * mib;
      row[index_of(Item::rss)] = 300 * mib;
    }
    const double leaked = mib * static_cast<double>(step);
    rows[1][index_of(Item::allocated)] += leaked;
    rows[1][index_of(Item::rss)] += leaked;  // the same bytes
    rows[2][index_of(Item::rss)] += leaked / 4;
    for (const Leak& leak : detector.observe(rows, step)) told.push_back(leak);
  }
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].rank, 1);
  EXPECT_EQ(told[0].what, "allocated");
  EXPECT_NEAR(told[0].bytes_per_step, mib, 0.01 * mib);
  EXPECT_LE(told[0].to_step, 250);
  EXPECT_EQ(told[1].rank, 2);
  EXPECT_EQ(told[1].what, "rss");
  ASSERT_EQ(detector.leaks().size(), 2U);
  EXPECT_EQ(detector.leaks()[0].to_step, 2000);
}

}  // namespace
}  // namespace trireme::report

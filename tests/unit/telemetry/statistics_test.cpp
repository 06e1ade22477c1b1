#include <trireme/telemetry/statistics.h>

#include <array>
#include <limits>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

TEST(Spread, OfFourRanks) {
  const Spread spread = spread_of(std::array{3.0, 1.0, 4.0, 2.0});
  EXPECT_EQ(spread.min, 1);
  EXPECT_EQ(spread.min_rank, 1);
  EXPECT_EQ(spread.mean, 2.5);
  EXPECT_EQ(spread.p95, 4);
  EXPECT_EQ(spread.max, 4);
  EXPECT_EQ(spread.max_rank, 2);
}

TEST(Spread, TiesNameTheLowestRank) {
  const Spread spread = spread_of(std::array{2.0, 2.0, 2.0});
  EXPECT_EQ(spread.min_rank, 0);
  EXPECT_EQ(spread.max_rank, 0);
}

TEST(Spread, P95IsTheNearestRank) {
  std::vector<double> values(100);
  std::iota(values.begin(), values.end(), 1.0);
  EXPECT_EQ(spread_of(values).p95, 95);
  values.resize(20);
  EXPECT_EQ(spread_of(values).p95, 19);
  values.resize(21);
  values[20] = 21;
  EXPECT_EQ(spread_of(values).p95, 20);
  EXPECT_EQ(spread_of(std::array{7.0}).p95, 7);
}

TEST(Spread, WithoutUsableValuesNamesNoRank) {
  EXPECT_EQ(spread_of({}).max_rank, -1);
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_EQ(spread_of(std::array{nan}).max_rank, -1);
  const Spread spread = spread_of(std::array{nan, 5.0, nan});
  EXPECT_EQ(spread.min_rank, 1);
  EXPECT_EQ(spread.mean, 5);
}

TEST(Median, OddEvenAndNone) {
  EXPECT_EQ(median_of(std::array{9.0, 1.0, 5.0}), 5);
  EXPECT_EQ(median_of(std::array{1.0, 2.0, 3.0, 10.0}), 2.5);
  EXPECT_EQ(median_of({}), 0);
}

}  // namespace
}  // namespace trireme::telemetry

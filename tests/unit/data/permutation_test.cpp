#include "data/permutation.h"

#include <trireme/data/sampler.h>

#include <map>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::data {
namespace {

std::vector<int64_t> order(uint64_t seed, int64_t epoch, int64_t n) {
  const Permutation permutation(seed, epoch, n);
  std::vector<int64_t> result;
  for (int64_t k = 0; k < n; ++k) result.push_back(permutation(k));
  return result;
}

TEST(Permutation, IsABijectionForEverySmallSize) {
  for (int64_t n = 1; n <= 600; ++n) {
    std::vector<char> seen(static_cast<size_t>(n));
    for (const int64_t value : order(7, n % 5, n)) {
      ASSERT_GE(value, 0);
      ASSERT_LT(value, n);
      ASSERT_EQ(seen[static_cast<size_t>(value)]++, 0) << n;
    }
  }
}

TEST(Permutation, IsABijectionAroundPowersOfTwo) {
  for (const int64_t n : {1023, 1024, 1025, 4095, 4096, 4097, 65537}) {
    const auto values = order(3, 1, n);
    EXPECT_EQ(std::set<int64_t>(values.begin(), values.end()).size(), static_cast<size_t>(n));
  }
}

TEST(Permutation, LargeSizesStayInRangeAndDoNotCollide) {
  constexpr int64_t n = 1'000'000'000'000;
  const Permutation permutation(1, 0, n);
  std::set<int64_t> seen;
  double sum = 0;
  for (int64_t k = 0; k < n; k += n / 20'000) {
    const int64_t value = permutation(k);
    ASSERT_GE(value, 0);
    ASSERT_LT(value, n);
    ASSERT_TRUE(seen.insert(value).second);
    sum += static_cast<double>(value) / n;
  }
  EXPECT_NEAR(sum / 20'000, 0.5, 0.01);
  EXPECT_EQ(permutation(n - 1), permute(1, 0, n - 1, n));
}

TEST(Permutation, SeedsAndEpochsGiveOtherOrders) {
  EXPECT_EQ(order(1, 0, 1000), order(1, 0, 1000));
  EXPECT_NE(order(1, 0, 1000), order(1, 1, 1000));
  EXPECT_NE(order(1, 0, 1000), order(2, 0, 1000));
}

TEST(Permutation, NeighboursAreNotKeptTogether) {
  const auto values = order(5, 0, 10'000);
  int64_t near = 0;
  for (size_t i = 1; i < values.size(); ++i) near += std::abs(values[i] - values[i - 1]) <= 1;
  EXPECT_LT(near, 10);  // 2 are expected
}

// All 120 orders of five elements over 60,000 epochs: 500 each. Chi-square with 119 degrees of
// freedom exceeds 190 with a probability of about 4e-5; the draws are fixed, so the test is too.
TEST(Permutation, SmallOrdersAreEquallyLikely) {
  std::map<std::vector<int64_t>, int> counts;
  for (int64_t epoch = 0; epoch < 60'000; ++epoch) ++counts[order(11, epoch, 5)];
  EXPECT_EQ(counts.size(), 120U);
  double chi_square = 0;
  for (const auto& [values, count] : counts)
    chi_square += (count - 500.0) * (count - 500.0) / 500.0;
  EXPECT_LT(chi_square, 190);
}

TEST(Permutation, EveryPositionGetsEveryValue) {
  constexpr int n = 37;
  constexpr int epochs = 37'000;
  std::vector<std::vector<int>> counts(n, std::vector<int>(n));
  for (int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto values = order(2, epoch, n);
    for (size_t k = 0; k < n; ++k) ++counts[k][static_cast<size_t>(values[k])];
  }
  for (const auto& row : counts)
    for (const int count : row)
      EXPECT_NEAR(count, 1000, 170);  // more than five standard deviations
}

}  // namespace
}  // namespace trireme::data

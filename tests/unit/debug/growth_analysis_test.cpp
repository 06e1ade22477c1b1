#include "debug/growth_analysis.h"

#include <trireme/core/random.h>

#include <cmath>
#include <functional>

#include <gtest/gtest.h>

namespace trireme::debug {
namespace {

constexpr double mib = 1 << 20;

/// The leaks that are told over `steps` values.
std::vector<GrowthAnalysis::Growth> leaks(int steps, const std::function<double(int)>& value) {
  GrowthAnalysis analysis;
  std::vector<GrowthAnalysis::Growth> found;
  for (int step = 0; step < steps; ++step)
    if (const auto leak = analysis.add(step, value(step))) found.push_back(*leak);
  return found;
}

/// About normal, deviation 1.
double noise(uint64_t seed, int step) {
  const core::RandomKey key(seed);
  double sum = 0;
  for (uint64_t i = 0; i < 12; ++i) sum += key.uniform(static_cast<uint64_t>(step) * 12 + i);
  return sum - 6;
}

TEST(GrowthAnalysis, SteadyIsNone) {
  EXPECT_TRUE(leaks(1000, [](int) { return 300 * mib; }).empty());
}

TEST(GrowthAnalysis, NoiseIsNone) {
  for (uint64_t seed = 0; seed < 20; ++seed)
    EXPECT_TRUE(leaks(5000, [&](int s) { return 300 * mib + 10 * mib * noise(seed, s); }).empty())
        << seed;
}

TEST(GrowthAnalysis, NoiseWithRareHeightsAndDepthsIsNone) {
  for (uint64_t seed = 0; seed < 10; ++seed)
    EXPECT_TRUE(leaks(5000,
                      [&](int s) {
                        const double n = noise(seed, s);
                        return 300 * mib + mib * (n > 1.8 ? 80 : n < -1.8 ? -80 : n);
                      })
                    .empty())
        << seed;
}

TEST(GrowthAnalysis, SawteethAreNone) {
  for (const int period : {2, 7, 16, 40, 90})
    EXPECT_TRUE(leaks(5000, [&](int s) { return 300 * mib + mib * (s % period); }).empty())
        << period;
}

TEST(GrowthAnalysis, OfLongSawteethOnlyTheFirstRiseIsTold) {
  for (const auto& leak : leaks(5000, [](int s) { return 300 * mib + mib * (s % 400); }))
    EXPECT_LT(leak.to_step, 400);
}

TEST(GrowthAnalysis, StairsThatEndAreNone) {
  EXPECT_TRUE(leaks(2000, [](int s) {
                return mib * (s < 500 ? 100 : s < 1000 ? 200 : 230);
              }).empty());
  // What is cached at first: slower and slower.
  EXPECT_TRUE(leaks(2000, [](int s) { return mib * (300 - 100 * std::exp(-s / 5.0)); }).empty());
}

TEST(GrowthAnalysis, ALeakIsToldWithItsSlope) {
  const auto found = leaks(120, [](int s) { return 300 * mib + 0.1 * mib * s; });
  ASSERT_EQ(found.size(), 1U);
  EXPECT_NEAR(found[0].per_step, 0.1 * mib, 1);
  EXPECT_EQ(found[0].from_step, 0);
  EXPECT_EQ(found[0].to_step, 95);
  EXPECT_NEAR(found[0].total, 0.1 * mib * 80, 1);
}

TEST(GrowthAnalysis, ALeakInNoiseOnTeethAndByStairsIsTold) {
  EXPECT_FALSE(leaks(500, [](int s) { return mib * (300 + s + 5 * noise(3, s)); }).empty());
  EXPECT_FALSE(leaks(500, [](int s) { return mib * (300 + 0.5 * s + 4 * (s % 4)); }).empty());
  EXPECT_FALSE(leaks(500, [](int s) { return mib * (300 + 8 * (s / 16)); }).empty());
}

TEST(GrowthAnalysis, ALeakThatGoesOnIsToldAgain) {
  EXPECT_EQ(leaks(960, [](int s) { return mib * s; }).size(), 10U);
}

TEST(GrowthAnalysis, GrowthBelowTheThresholdIsNone) {
  EXPECT_TRUE(leaks(1000, [](int s) { return 300 * mib + 1000.0 * s; }).empty());
}

TEST(GrowthAnalysis, TheSlopeIsKnownBefore) {
  GrowthAnalysis analysis;
  EXPECT_FALSE(analysis.growth().has_value());
  for (int s = 0; s < 9; ++s) (void)analysis.add(2 * s, s == 4 ? 1e9 : 100.0 * s);
  ASSERT_TRUE(analysis.growth().has_value());
  EXPECT_NEAR(analysis.growth()->per_step, 50, 1e-9);  // one value does not matter
}

}  // namespace
}  // namespace trireme::debug

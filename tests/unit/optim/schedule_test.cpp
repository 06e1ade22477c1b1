#include <trireme/optim/schedule.h>

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::optim {
namespace {

std::vector<double> rates(const ScheduleConfig& config, int64_t total, double base = 1.0) {
  std::vector<double> all;
  for (int64_t s = 0; s < total; ++s) all.push_back(learning_rate(config, base, s, total));
  return all;
}

void expect_rates(const std::vector<double>& got, const std::vector<double>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-12) << "step " << i;
}

ScheduleConfig named(const char* name, int64_t warmup, double low) {
  ScheduleConfig config;
  config.name = name;
  config.warmup_steps = warmup;
  config.min_lr_ratio = low;
  return config;
}

// The tables were worked out by hand from the formulas: 2 steps of warm-up and 4 of progress 0,
// 1/4, 2/4, 3/4.
TEST(Schedule, Constant) {
  expect_rates(rates(named("constant", 2, 0.0), 6), {0.5, 1, 1, 1, 1, 1});
}

TEST(Schedule, Linear) {
  expect_rates(rates(named("linear", 2, 0.0), 6), {0.5, 1, 1, 0.75, 0.5, 0.25});
  expect_rates(rates(named("linear", 2, 0.2), 6), {0.5, 1, 1, 0.8, 0.6, 0.4});
}

TEST(Schedule, Cosine) {
  const double r = std::sqrt(0.5);
  expect_rates(rates(named("cosine", 2, 0.0), 6), {0.5, 1, 1, 0.5 + r / 2, 0.5, 0.5 - r / 2});
  expect_rates(rates(named("cosine", 2, 0.1), 6, 2.0),
               {1, 2, 2, 0.2 + 1.8 * (0.5 + r / 2), 1.1, 0.2 + 1.8 * (0.5 - r / 2)});
}

TEST(Schedule, Polynomial) {
  ScheduleConfig config = named("polynomial", 2, 0.0);
  config.power = 2.0;
  expect_rates(rates(config, 6), {0.5, 1, 1, 0.5625, 0.25, 0.0625});
  config.min_lr_ratio = 0.2;
  expect_rates(rates(config, 6), {0.5, 1, 1, 0.65, 0.4, 0.25});
}

TEST(Schedule, Step) {
  ScheduleConfig config = named("step", 1, 0.0);
  config.decay_every = 2;
  config.gamma = 0.1;
  expect_rates(rates(config, 7), {1, 1, 1, 0.1, 0.1, 0.01, 0.01});
  config.min_lr_ratio = 0.05;
  expect_rates(rates(config, 7), {1, 1, 1, 0.1, 0.1, 0.05, 0.05});
}

TEST(Schedule, Exponential) {
  ScheduleConfig config = named("exponential", 1, 0.0);
  config.decay_every = 2;
  config.gamma = 0.25;
  expect_rates(rates(config, 6), {1, 1, 0.5, 0.25, 0.125, 0.0625});
}

TEST(Schedule, WarmupStableDecay) {
  ScheduleConfig config = named("wsd", 2, 0.0);
  config.decay_fraction = 0.5;
  expect_rates(rates(config, 10), {0.5, 1, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25});
  config.decay_shape = "sqrt";
  expect_rates(rates(config, 10),
               {0.5, 1, 1, 1, 1, 1, 1, 0.5, 1 - std::sqrt(0.5), 1 - std::sqrt(0.75)});
  config.decay_shape = "cosine";
  config.min_lr_ratio = 0.2;
  expect_rates(rates(config, 10), {0.5, 1, 1, 1, 1, 1, 1, 0.6 + 0.4 * std::sqrt(0.5), 0.6,
                                   0.6 - 0.4 * std::sqrt(0.5)});
}

TEST(Schedule, OneCycleRisesAndFalls) {
  ScheduleConfig config = named("one_cycle", 0, 0.0);
  config.peak_at = 0.5;
  config.start_lr_ratio = 0.2;
  expect_rates(rates(config, 8), {0.2, 0.6 - 0.4 * std::sqrt(0.5), 0.6, 0.6 + 0.4 * std::sqrt(0.5),
                                  1, 0.5 + std::sqrt(0.5) / 2, 0.5, 0.5 - std::sqrt(0.5) / 2});
}

TEST(Schedule, OneCycleRisesInItsWarmup) {
  const double r = std::sqrt(0.5);
  expect_rates(rates(named("one_cycle", 2, 0.0), 6), {0.5, 1, 1, 0.5 + r / 2, 0.5, 0.5 - r / 2});
}

TEST(Schedule, PlateauFollowsTheEvaluations) {
  ScheduleConfig config = named("plateau", 2, 0.0);
  config.patience = 1;
  config.gamma = 0.5;
  EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 0, 100), 0.5);
  EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 50, 100), 1.0);
  const std::vector<double> history = {3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0};
  //                                    best best bad  fall bad  fall best bad
  const std::vector<int64_t> falls = {0, 0, 0, 0, 1, 1, 2, 2, 2};
  for (size_t n = 0; n <= history.size(); ++n) {
    const std::span<const double> seen(history.data(), n);
    EXPECT_EQ(plateau_falls(config, seen), falls[n]) << n;
    EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 50, 100, seen),
                     std::pow(0.5, static_cast<double>(falls[n])));
  }
  config.min_lr_ratio = 0.4;
  EXPECT_DOUBLE_EQ(learning_rate(config, 1.0, 50, 100, history), 0.4);
}

TEST(Schedule, PlateauCountsOnlyRelativeImprovement) {
  ScheduleConfig config = named("plateau", 0, 0.0);
  config.patience = 0;
  config.threshold = 0.1;
  EXPECT_EQ(plateau_falls(config, std::vector<double>{1.0, 0.95}), 1);
  EXPECT_EQ(plateau_falls(config, std::vector<double>{1.0, 0.85}), 0);
  EXPECT_EQ(plateau_falls(config, std::vector<double>{-1.0, -1.05}), 1);
  EXPECT_EQ(plateau_falls(config, std::vector<double>{-1.0, -1.2}), 0);
  EXPECT_EQ(plateau_falls(config, std::vector<double>{NAN, 1.0, NAN}), 2);
}

class EverySchedule : public testing::TestWithParam<const char*> {};

TEST_P(EverySchedule, WithoutWarmupNeverDividesByZero) {
  for (const int64_t total : {1, 2, 7}) {
    for (const double rate : rates(named(GetParam(), 0, 0.1), total)) {
      EXPECT_TRUE(std::isfinite(rate));
      EXPECT_GT(rate, 0.0);
      EXPECT_LE(rate, 1.0);
    }
  }
}

TEST_P(EverySchedule, WarmupAsLongAsTheRunOrLonger) {
  expect_rates(rates(named(GetParam(), 4, 0.1), 4), {0.25, 0.5, 0.75, 1});
  expect_rates(rates(named(GetParam(), 8, 0.1), 4), {0.125, 0.25, 0.375, 0.5});
}

TEST_P(EverySchedule, PastTheEndStaysAtTheFloor) {
  const ScheduleConfig config = named(GetParam(), 4, 0.25);
  for (const int64_t step : {4, 5, 100}) {
    const double rate = learning_rate(config, 1.0, step, 4);
    const bool falls = config.name != "constant" && config.name != "plateau" &&
                       config.name != "step" && config.name != "exponential";
    if (falls)
      EXPECT_NEAR(rate, 0.25, 1e-12);
    else
      EXPECT_GE(rate, 0.25);
  }
}

TEST_P(EverySchedule, FollowsTheWarmupWithoutAJump) {
  const ScheduleConfig config = named(GetParam(), 10, 0.1);
  EXPECT_DOUBLE_EQ(learning_rate(config, 3.0, 9, 1000), 3.0);
  EXPECT_NEAR(learning_rate(config, 3.0, 10, 1000), 3.0, 1e-12);
}

INSTANTIATE_TEST_SUITE_P(Names, EverySchedule,
                         testing::Values("constant", "linear", "cosine", "polynomial", "step",
                                         "exponential", "wsd", "one_cycle", "plateau"));

}  // namespace
}  // namespace trireme::optim

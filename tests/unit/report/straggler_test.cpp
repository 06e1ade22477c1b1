#include <trireme/report/straggler.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

constexpr int64_t healthy_steps = 5000;

/// What one rank works in one step, in phases that add up to about 1.
struct Work {
  double data = 0.02, forward = 0.3, backward = 0.6, optimizer = 0.08;
  void scale(double factor) {
    for (double* part : {&data, &forward, &backward, &optimizer}) *part *= factor;
  }
  [[nodiscard]] double sum() const { return data + forward + backward + optimizer; }
};

/// Changes what the ranks work in a step; called for every step with all ranks' work.
using Disturbance = std::function<void(int64_t step, std::vector<Work>&, std::mt19937_64&)>;

struct Series {
  int ranks = 4;
  uint64_t seed = 1;
  int64_t log_every = 10;
  int64_t steps = healthy_steps;
  std::vector<Disturbance> disturbances = {};
};

/// Simulates synchronous steps: who is done early waits for the slowest. Returns all names given.
std::vector<Straggler> names_in(const Series& series, StragglerDetector& detector) {
  std::mt19937_64 random(series.seed);
  std::vector<std::vector<telemetry::StepRecord>> window(static_cast<size_t>(series.ranks));
  std::vector<Straggler> names;
  for (int64_t step = 1; step <= series.steps; ++step) {
    std::vector<Work> work(static_cast<size_t>(series.ranks));
    for (const Disturbance& disturb : series.disturbances) disturb(step, work, random);
    double slowest = 0;
    for (const Work& one : work) slowest = std::max(slowest, one.sum());
    for (size_t rank = 0; rank < work.size(); ++rank) {
      telemetry::StepRecord& record = window[rank].emplace_back();
      record.seconds = slowest + 0.05;
      record.phases[index_of(Phase::data)] = work[rank].data;
      record.phases[index_of(Phase::forward)] = work[rank].forward;
      record.phases[index_of(Phase::backward)] = work[rank].backward;
      record.phases[index_of(Phase::optimizer)] = work[rank].optimizer;
      record.phases[index_of(Phase::comm_exposed)] = record.seconds - work[rank].sum();
    }
    if (step % series.log_every != 0) continue;
    std::vector<RankRow> rows;
    for (auto& records : window) {
      rows.push_back(row_of(records));
      records.clear();
    }
    if (const auto name = detector.observe(rows, step)) names.push_back(*name);
  }
  return names;
}
std::vector<Straggler> names_in(const Series& series) {
  StragglerDetector detector;
  return names_in(series, detector);
}

Disturbance gaussian(double sigma) {
  return [sigma](int64_t, std::vector<Work>& work, std::mt19937_64& random) {
    std::normal_distribution<double> noise(1, sigma);
    for (Work& one : work) one.scale(std::max(0.5, noise(random)));
  };
}
/// A step in `one_in` of a rank takes 1.5 to 10 times as long; the rest log-normal.
Disturbance heavy_tails(double one_in) {
  return [one_in](int64_t, std::vector<Work>& work, std::mt19937_64& random) {
    std::lognormal_distribution<double> usual(0, 0.04);
    std::uniform_real_distribution<double> chance(0, one_in);
    std::uniform_real_distribution<double> long_step(1.5, 10);
    for (Work& one : work) one.scale(usual(random) * (chance(random) < 1 ? long_step(random) : 1));
  };
}
Disturbance spikes(int rank, int64_t every, double factor) {
  return [=](int64_t step, std::vector<Work>& work, std::mt19937_64&) {
    if (step % every == 0) work[static_cast<size_t>(rank)].scale(factor);
  };
}
Disturbance drift_of_all() {
  return [](int64_t step, std::vector<Work>& work, std::mt19937_64&) {
    for (Work& one : work)
      one.scale(1 + 0.5 * std::sin(static_cast<double>(step) / 700) +
                static_cast<double>(step) / healthy_steps);
  };
}
/// Slow noise that the ranks of a node share (first-order autoregression, 100 steps long).
Disturbance node_noise(int ranks_per_node, double sigma) {
  return [=, state = std::vector<double>()](int64_t, std::vector<Work>& work,
                                            std::mt19937_64& random) mutable {
    const size_t nodes = (work.size() + static_cast<size_t>(ranks_per_node) - 1) /
                         static_cast<size_t>(ranks_per_node);
    std::normal_distribution<double> noise(0, sigma);
    constexpr double keeps = 0.99;
    if (state.empty())
      for (size_t n = 0; n < nodes; ++n) state.push_back(noise(random));
    for (double& value : state)
      value = keeps * value + std::sqrt(1 - keeps * keeps) * noise(random);
    for (size_t rank = 0; rank < work.size(); ++rank)
      work[rank].scale(1 + state[rank / static_cast<size_t>(ranks_per_node)]);
  };
}
/// Each rank always has up to `most` more or less to do.
Disturbance uneven_data(double most) {
  return [=, share = std::vector<double>()](int64_t, std::vector<Work>& work,
                                            std::mt19937_64& random) mutable {
    std::uniform_real_distribution<double> offset(-most, most);
    while (share.size() < work.size()) share.push_back(1 + offset(random));
    for (size_t rank = 0; rank < work.size(); ++rank) work[rank].scale(share[rank]);
  };
}
/// Batches of very different lengths: up to twice the work, drawn anew in each step.
Disturbance batch_lengths() {
  return [](int64_t, std::vector<Work>& work, std::mt19937_64& random) {
    std::uniform_real_distribution<double> length(0.7, 1.4);
    for (Work& one : work) one.scale(length(random));
  };
}
/// From `begin` on the rank works `excess` longer, all of it in one phase.
Disturbance slow_rank(int rank, double Work::*phase, double excess, int64_t begin,
                      int64_t end = 1 << 30) {
  return [=](int64_t step, std::vector<Work>& work, std::mt19937_64&) {
    if (step < begin || step >= end) return;
    Work& one = work[static_cast<size_t>(rank)];
    one.*phase += excess * one.sum();
  };
}

struct Healthy {
  std::string name;
  std::function<std::vector<Disturbance>()> make;
};
std::vector<Healthy> healthy() {
  return {
      {"gaussian 2 %",
       [] {
         return std::vector{gaussian(0.02)};
       }},
      {"gaussian 5 %",
       [] {
         return std::vector{gaussian(0.05)};
       }},
      {"gaussian 10 %",
       [] {
         return std::vector{gaussian(0.10)};
       }},
      {"heavy tails",
       [] {
         return std::vector{heavy_tails(100)};
       }},
      {"many long steps",
       [] {
         return std::vector{heavy_tails(12)};
       }},
      {"saves of rank 0",
       [] {
         return std::vector{gaussian(0.03), spikes(0, 100, 15)};
       }},
      {"collections of rank 1",
       [] {
         return std::vector{gaussian(0.03), spikes(1, 7, 2.5)};
       }},
      {"drift",
       [] {
         return std::vector{gaussian(0.03), drift_of_all()};
       }},
      {"one slow step",
       [] {
         return std::vector{gaussian(0.03), spikes(1, 3000, 1000)};
       }},
      {"nodes of four",
       [] {
         return std::vector{gaussian(0.03), node_noise(4, 0.03)};
       }},
      {"uneven data",
       [] {
         return std::vector{gaussian(0.03), uneven_data(0.04)};
       }},
      {"batch lengths",
       [] {
         return std::vector{gaussian(0.02), batch_lengths()};
       }},
      {"10 % more on a rank",
       [] {
         return std::vector{gaussian(0.03), slow_rank(1, &Work::backward, 0.08, 1)};
       }},
  };
}

TEST(StragglerDetector, NamesNobodyInHealthySeries) {
  int64_t false_names = 0, series_count = 0;
  for (const Healthy& kind : healthy())
    for (const auto& [ranks, log_every, seeds] :
         {std::tuple{2, 10, 10}, {2, 1, 5}, {4, 10, 10}, {8, 1, 3}, {8, 10, 4}, {64, 10, 1}})
      for (int seed = 1; seed <= seeds; ++seed) {
        ++series_count;
        const auto names = names_in({.ranks = ranks,
                                     .seed = static_cast<uint64_t>(seed),
                                     .log_every = log_every,
                                     .disturbances = kind.make()});
        false_names += static_cast<int64_t>(names.size());
        for (const Straggler& name : names)
          ADD_FAILURE() << kind.name << ", " << ranks << " ranks, seed " << seed << ", every "
                        << log_every << ": rank " << name.rank << " by " << name.excess
                        << " at step " << name.to_step;
      }
  RecordProperty("series", std::to_string(series_count));
  EXPECT_EQ(false_names, 0);
}

/// Windows of a real run, by rank.
std::vector<std::vector<RankRow>> recorded() {
  constexpr std::array columns{
      index_of(Phase::data),        index_of(Phase::forward),
      index_of(Phase::backward),    index_of(Phase::comm_exposed),
      index_of(Phase::optimizer),   index_of(Phase::other),
      index_of(Item::step_seconds), index_of(Item::typical_working_seconds)};
  std::ifstream file(std::filesystem::path(TRIREME_TESTS) / "unit/report/recorded/oversubscribed.txt");
  std::vector<std::vector<RankRow>> windows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream numbers(line);
    std::vector<RankRow>& rows = windows.emplace_back(4);
    for (RankRow& row : rows) {
      for (const size_t column : columns) {
        numbers >> row[column];
        row[column] *= 1e-6;
      }
      row[index_of(Item::steps)] = 10;
    }
    EXPECT_TRUE(numbers) << line;
  }
  return windows;
}

TEST(StragglerDetector, NamesNobodyInARecordedSeries) {
  const auto windows = recorded();
  ASSERT_EQ(windows.size(), 500U);
  StragglerDetector detector;
  int64_t step = 0;
  for (const auto& rows : windows) detector.observe(rows, step += 10);
  for (const Straggler& name : detector.found())
    ADD_FAILURE() << "rank " << name.rank << " by " << name.excess << ", steps " << name.from_step
                  << " to " << name.to_step;
}

TEST(StragglerDetector, NamesNobodyAmongFiveHundredRanks) {
  for (const Healthy& kind : healthy())
    EXPECT_THAT(names_in({.ranks = 512, .seed = 9, .steps = 1000, .disturbances = kind.make()}),
                testing::IsEmpty())
        << kind.name;
}

TEST(StragglerDetector, NamesTheRankAndItsSectionWithinFiftySteps) {
  struct Section {
    double Work::*part;
    Phase phase;
  };
  int64_t most = 0;
  for (const Section section : {Section{&Work::data, Phase::data},
                                {&Work::forward, Phase::forward},
                                {&Work::backward, Phase::backward},
                                {&Work::optimizer, Phase::optimizer}})
    for (const double sigma : {0.02, 0.05})
      for (const int ranks : {2, 3, 4, 8, 32})
        for (const int log_every : {1, 5, 10})
          for (const int64_t begin : {1, 101, 104, 1009})
            for (uint64_t seed = 1; seed <= 3; ++seed) {
              const int slow = static_cast<int>(seed) % ranks;
              const std::vector<Straggler> names = names_in(
                  {.ranks = ranks,
                   .seed = seed,
                   .log_every = log_every,
                   .steps = begin + 49,
                   .disturbances = {gaussian(sigma), slow_rank(slow, section.part, 0.20, begin)}});
              ASSERT_EQ(names.size(), 1U) << ranks << " ranks, from step " << begin << ", every "
                                          << log_every << ", seed " << seed << ", noise " << sigma;
              EXPECT_EQ(names[0].rank, slow);
              EXPECT_EQ(names[0].section, section.phase);
              EXPECT_NEAR(names[0].excess, 0.2, 0.06);
              EXPECT_NEAR(names[0].seconds, 0.2, 0.06);
              most = std::max(most, names[0].to_step - begin + 1);
            }
  RecordProperty("most_steps", std::to_string(most));
  EXPECT_LE(most, 50);
}

TEST(StragglerDetector, FiveToTenPerCentAreNotNamed) {
  for (const double excess : {0.05, 0.07, 0.10})
    for (const int ranks : {2, 4, 8})
      for (uint64_t seed = 1; seed <= 10; ++seed)
        EXPECT_THAT(
            names_in({.ranks = ranks,
                      .seed = seed,
                      .disturbances = {gaussian(0.03), slow_rank(1, &Work::forward, excess, 1)}}),
            testing::IsEmpty())
            << excess << ", " << ranks << " ranks, seed " << seed;
}

TEST(StragglerDetector, NamesOnceAndKnowsWhenItWasOver) {
  StragglerDetector detector;
  const std::vector<Straggler> names =
      names_in({.ranks = 4,
                .steps = 1000,
                .disturbances = {gaussian(0.03), slow_rank(2, &Work::forward, 0.3, 201, 401),
                                 slow_rank(0, &Work::data, 0.5, 301, 601)}},
               detector);
  ASSERT_EQ(names.size(), 2U);
  ASSERT_EQ(detector.found().size(), 2U);
  const Straggler& first = detector.found()[0];
  EXPECT_EQ(first.rank, 2);
  EXPECT_NEAR(static_cast<double>(first.from_step), 201, 10);
  EXPECT_NEAR(static_cast<double>(first.to_step), 400, 10);
  const Straggler& second = detector.found()[1];
  EXPECT_EQ(second.rank, 0);
  EXPECT_EQ(second.section, Phase::data);
  EXPECT_NEAR(static_cast<double>(second.to_step), 600, 10);
}

TEST(StragglerDetector, AlsoReadsRowsOfMeansAlone) {
  StragglerDetector detector;
  std::optional<Straggler> name;
  for (int64_t step = 10; step <= 50 && !name; step += 10) {
    std::vector<RankRow> rows(4);
    for (size_t rank = 0; rank < 4; ++rank) {
      rows[rank][index_of(Item::steps)] = 10;
      rows[rank][index_of(Phase::forward)] = rank == 3 ? 1.25 : 1.0;
      rows[rank][index_of(Phase::comm_exposed)] = rank == 3 ? 0.0 : 0.25;
      rows[rank][index_of(Item::step_seconds)] = 1.25;
    }
    name = detector.observe(rows, step);
  }
  ASSERT_TRUE(name);
  EXPECT_EQ(name->rank, 3);
  EXPECT_EQ(name->from_step, 1);
}

/// Who is named if rank 1's batches come last, and its loading threads take so many seconds, those of the others 1.
std::optional<Straggler> named_for_data(double load_seconds) {
  StragglerDetector detector;
  std::optional<Straggler> name;
  for (int64_t step = 10; step <= 100 && !name; step += 10) {
    std::vector<RankRow> rows(3);
    for (size_t rank = 0; rank < 3; ++rank) {
      rows[rank][index_of(Item::steps)] = 10;
      rows[rank][index_of(Phase::forward)] = 0.5;
      rows[rank][index_of(rank == 1 ? Phase::data : Phase::comm_exposed)] = 0.5;
      rows[rank][index_of(Item::step_seconds)] = 1.0;
      rows[rank][index_of(Item::load_seconds)] = rank == 1 ? load_seconds : 1.0;
    }
    name = detector.observe(rows, step);
  }
  return name;
}

TEST(StragglerDetector, NamesARankForItsDataOnlyIfItLoadsSlower) {
  EXPECT_FALSE(named_for_data(1.02)) << "all loaders are too slow, one has to be last";
  const std::optional<Straggler> name = named_for_data(1.4);
  ASSERT_TRUE(name);
  EXPECT_EQ(name->rank, 1);
  EXPECT_EQ(name->section, Phase::data);
}

TEST(StragglerDetector, OneRankHasNoOthers) {
  EXPECT_THAT(names_in({.ranks = 1, .steps = 200, .disturbances = {gaussian(0.03)}}),
              testing::IsEmpty());
}

TEST(Straggler, EarlyWorkingTimesForgetAHiccup) {
  StragglerDetector detector;
  EXPECT_TRUE(detector.early_working().empty());
  for (int64_t step = 1; step <= 100; ++step) {
    std::vector<RankRow> rows(2);
    for (size_t rank = 0; rank < 2; ++rank) {
      rows[rank][index_of(telemetry::Phase::forward)] = step > 60 ? 9 : 1;
      rows[rank][index_of(Item::step_seconds)] = step > 60 ? 9 : rank == 1 && step <= 2 ? 30 : 1;
      rows[rank][index_of(Item::steps)] = 1;
    }
    (void)detector.observe(rows, step);
  }
  EXPECT_NEAR(detector.early_working().at(0), 1, 1e-9);
  EXPECT_NEAR(detector.early_working().at(1), 1, 0.01);
}

}  // namespace
}  // namespace trireme::report

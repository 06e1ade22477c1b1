#include <trireme/core/error.h>
#include <trireme/report/scaling.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::report {
namespace {

using telemetry::Phase;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

/// Seconds of a step in forward, and in exposed communication besides.
ScalingRun run_of(int ranks, double samples_per_step, double forward, double exposed = 0) {
  ScalingRun run{.path = fmt::format("runs/{}", ranks),
                 .ranks = ranks,
                 .hosts = 1,
                 .windows = 10,
                 .samples_per_step = samples_per_step,
                 .step_seconds = forward + exposed};
  run.samples_per_second = samples_per_step / run.step_seconds;
  run.shares[static_cast<size_t>(Phase::forward)] = forward / run.step_seconds;
  run.shares[static_cast<size_t>(Phase::comm_exposed)] = exposed / run.step_seconds;
  return run;
}

std::vector<double> efficiencies(const Scaling& scaling) {
  std::vector<double> all;
  for (const Scaling::Row& row : scaling.rows)
    all.push_back(std::round(1000 * row.efficiency) / 1000);
  return all;
}

Error refusal(std::vector<ScalingRun> runs) {
  try {
    (void)scaling_of(std::move(runs));
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "not refused";
  return Error(ErrorKind::unexpected, "");
}

TEST(Scaling, StrongWhereAllMakeStepsOfAsManySamples) {
  const Scaling scaling = scaling_of({run_of(4, 64, 0.1), run_of(1, 64, 0.4), run_of(2, 64, 0.2)});
  EXPECT_EQ(scaling.kind, Scaling::Kind::strong);
  EXPECT_EQ(scaling.rows[0].run.ranks, 1);
  EXPECT_EQ(scaling.rows[2].run.ranks, 4);
  EXPECT_NEAR(scaling.rows[2].speed_up, 4, 1e-9);
  EXPECT_THAT(efficiencies(scaling), ElementsAre(1, 1, 1));
  EXPECT_EQ(scaling.text, "scales well: efficiency 100 % at 4 ranks");
  EXPECT_THAT(scaling.notes, IsEmpty());
  EXPECT_THAT(scaling_text(scaling), HasSubstr("strong scaling: 64 samples a step"));
}

TEST(Scaling, WeakWhereEachRankHasAsManySamples) {
  const Scaling scaling = scaling_of({run_of(2, 32, 0.49, 0.01), run_of(8, 128, 0.49, 0.31)});
  EXPECT_EQ(scaling.kind, Scaling::Kind::weak);
  EXPECT_NEAR(scaling.rows[1].speed_up, 4 * 0.5 / 0.8, 1e-9) << "against the smallest run";
  EXPECT_THAT(efficiencies(scaling), ElementsAre(1, 0.625));
  EXPECT_EQ(scaling.text,
            "efficiency falls to 62 % at 8 ranks: exposed communication grows from 2 % to 39 % of "
            "the step");
  ASSERT_THAT(scaling.losses, SizeIs(1)) << "forward takes what it should";
  EXPECT_EQ(scaling.losses[0].phase, Phase::comm_exposed);
  EXPECT_NEAR(scaling.losses[0].seconds, 0.3, 1e-9);
  EXPECT_THAT(scaling_text(scaling), HasSubstr("weak scaling: 16 samples a step on each rank"));
}

TEST(Scaling, NamesAPhaseWhoseShareDoesNotGrow) {
  // Four ranks on cores for two: forward takes twice as long, and so does nothing else.
  const Scaling scaling = scaling_of({run_of(2, 32, 0.1), run_of(4, 64, 0.2)});
  EXPECT_EQ(scaling.text,
            "efficiency falls to 50 % at 4 ranks: forward takes 200.0 ms a step where its part of "
            "the work should take 100.0 ms");
}

TEST(Scaling, WhatIsTheSameOnAnyRankGrowsInStrongScaling) {
  ScalingRun one = run_of(1, 64, 0.9), eight = run_of(8, 64, 0.9 / 8);
  for (ScalingRun* run : {&one, &eight}) {
    const double forward = run->step_seconds;
    run->step_seconds += 0.1;
    run->samples_per_second = 64 / run->step_seconds;
    run->shares[static_cast<size_t>(Phase::forward)] = forward / run->step_seconds;
    run->shares[static_cast<size_t>(Phase::optimizer)] = 0.1 / run->step_seconds;
  }
  EXPECT_EQ(scaling_of({one, eight}).text,
            "efficiency falls to 59 % at 8 ranks: the optimizer grows from 10 % to 47 % of the "
            "step");
}

TEST(Scaling, NamesTwoThatLoseMostTogether) {
  ScalingRun base = run_of(1, 8, 0.1), last = run_of(4, 32, 0.1, 0.06);
  last.step_seconds += 0.05;
  last.samples_per_second = 32 / last.step_seconds;
  for (double& share : last.shares) share *= 0.16 / 0.21;
  last.shares[static_cast<size_t>(Phase::data)] = 0.05 / 0.21;
  EXPECT_EQ(scaling_of({base, last}).text,
            "efficiency falls to 48 % at 4 ranks: exposed communication grows from 0 % to 29 % of "
            "the step, and the wait for data grows from 0 % to 24 % of the step");
}

TEST(Scaling, NeitherIsSaid) {
  const Scaling scaling = scaling_of({run_of(1, 16, 0.1), run_of(2, 48, 0.15), run_of(4, 64, 0.1)});
  EXPECT_EQ(scaling.kind, Scaling::Kind::neither);
  ASSERT_THAT(scaling.notes, SizeIs(1));
  EXPECT_THAT(scaling.notes[0], HasSubstr("neither strong nor weak scaling"));
  EXPECT_THAT(efficiencies(scaling), ElementsAre(1, 1, 1)) << "samples a second of each rank";
  EXPECT_THAT(scaling_text(scaling), HasSubstr("note: neither"));
}

TEST(Scaling, FasterThanLinearIsSaid) {
  EXPECT_EQ(scaling_of({run_of(1, 8, 0.2), run_of(2, 16, 0.16)}).text,
            "faster than its ranks explain: efficiency 125 % at 2 ranks");
}

TEST(Scaling, NotesShortRunsAndOtherDifferences) {
  ScalingRun one = run_of(1, 8, 0.1), two = run_of(2, 16, 0.1);
  two.windows = 1;
  one.configuration = {
      {"train.batch_size", "8"}, {"train.steps", "10"}, {"optim.lr", "0.1"}, {"a", "1"}};
  two.configuration = {{"train.batch_size", "4"},
                       {"train.steps", "20"},
                       {"optim.lr", "0.2"},
                       {"a", "1"},
                       {"b", "\x1b[2J"}};
  const Scaling scaling = scaling_of({one, two});
  EXPECT_THAT(scaling.notes,
              ElementsAre("too short to judge: runs/2 has 1 logged window",
                          "the runs differ in more than ranks and batches: b, optim.lr"));
  ASSERT_THAT(scaling.configuration, SizeIs(2));
  EXPECT_EQ(scaling.configuration[0].first, "b");
  EXPECT_THAT(scaling.configuration[0].second, ElementsAre("absent", "\x1b[2J"));
  EXPECT_THAT(scaling.configuration[1].second, ElementsAre("0.1", "0.2"));
  EXPECT_THAT(scaling_text(scaling), Not(HasSubstr("\x1b")));
  EXPECT_THAT(scaling_text(scaling), HasSubstr("optim.lr: 0.1, 0.2"));
}

TEST(Scaling, RefusesWhatTellsNothing) {
  for (std::vector<ScalingRun> runs : {std::vector<ScalingRun>{}, {run_of(2, 8, 0.1)}}) {
    const Error error = refusal(std::move(runs));
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.message(), HasSubstr("one run does not tell"));
    EXPECT_FALSE(error.hint().empty());
  }
  ScalingRun again = run_of(2, 8, 0.1);
  again.path = "runs/again";
  const Error error = refusal({run_of(2, 8, 0.1), run_of(1, 8, 0.1), again});
  EXPECT_EQ(error.kind(), ErrorKind::usage);
  EXPECT_EQ(error.message(), "runs/2 and runs/again both ran on 2 ranks");
}

TEST(Scaling, AsJson) {
  ScalingRun two = run_of(2, 16, 0.1, 0.1);
  two.tokens_per_second = 800;
  const auto json = nlohmann::json::parse(scaling_json(scaling_of({run_of(1, 8, 0.1), two})));
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["kind"], "weak");
  ASSERT_EQ(json["runs"].size(), 2U);
  EXPECT_EQ(json["runs"][0]["tokens_per_second"], nullptr);
  EXPECT_EQ(json["runs"][1]["tokens_per_second"], 800);
  EXPECT_EQ(json["runs"][1]["samples_per_step"], 16);
  EXPECT_EQ(json["runs"][1]["efficiency"], 0.5);
  EXPECT_EQ(json["runs"][1]["shares"]["comm_exposed"], 0.5);
  EXPECT_EQ(json["losses"][0]["phase"], "comm_exposed");
  EXPECT_EQ(json["losses"][0]["to_share"], 0.5);
}

class ScalingFolder : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(paths_.root); }
  void TearDown() override { std::filesystem::remove_all(paths_.root); }
  void write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream(file) << text;
  }
  void write_report(int attempt = 2) {
    write(paths_.report(), fmt::format(R"({{"schema": 1, "attempt": {},
      "ranks": [{{"rank": 0, "host": "n1"}}, {{"rank": 1, "host": "n1"}}, {{"rank": 2, "host": "n2"}}]}})",
                                       attempt));
  }
  static std::string line(int attempt, double step_seconds) {
    return fmt::format(
        R"({{"attempt":{},"step":1,"step_seconds":{},"samples_per_second":{},"tokens_per_second":{},"phases":{{"data":{{"mean":{}}}}}}})"
        "\n",
        attempt, step_seconds, 12 / step_seconds, 120 / step_seconds, step_seconds / 4);
  }
  [[nodiscard]] Error refused() const {
    try {
      (void)read_scaling_run(paths_);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "not refused";
    return Error(ErrorKind::unexpected, "");
  }
  RunPaths paths_{std::filesystem::path(testing::TempDir()) /
                  fmt::format("scaling_{}", ::getpid())};
};

TEST_F(ScalingFolder, IsReadInTheMiddleOfItsLastAttempt) {
  write_report();
  std::string lines = line(1, 99) + line(2, 50);
  for (int i = 0; i < 9; ++i) lines += line(2, i % 2 == 0 ? 0.5 : 0.51);
  write(paths_.metrics(), lines + "{\"torn");
  write(paths_.config(), "run: {dir: x}\nmodel: {width: 7}\n");
  const ScalingRun run = read_scaling_run(paths_);
  EXPECT_EQ(run.ranks, 3);
  EXPECT_EQ(run.hosts, 2);
  EXPECT_EQ(run.windows, 10);
  EXPECT_EQ(run.step_seconds, 0.5) << "neither the start nor the attempt before";
  EXPECT_NEAR(run.samples_per_step, 12, 1e-9);
  EXPECT_NEAR(run.tokens_per_second, 240, 1e-9);
  EXPECT_EQ(run.shares[static_cast<size_t>(Phase::data)], 0.25);
  EXPECT_THAT(run.configuration,
              ElementsAre(std::pair<const std::string, std::string>("model.width", "7")));
}

TEST_F(ScalingFolder, WithoutARunsRecordsIsRefused) {
  Error error = refused();
  EXPECT_EQ(error.kind(), ErrorKind::input_missing);
  EXPECT_THAT(error.message(), HasSubstr("report.json does not exist"));
  EXPECT_FALSE(error.hint().empty());
  write_report();
  error = refused();
  EXPECT_EQ(error.kind(), ErrorKind::input_missing);
  EXPECT_THAT(error.message(), HasSubstr("metrics.jsonl"));
  write(paths_.metrics(), line(1, 0.5) + "[]\n");
  error = refused();
  EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(error.message(), HasSubstr("no logged step of the attempt"));
  for (const char* text : {"", "{}", R"({"ranks": 3})", R"({"ranks": []})"}) {
    write(paths_.report(), text);
    EXPECT_EQ(refused().kind(), ErrorKind::data_damaged) << text;
  }
}

}  // namespace
}  // namespace trireme::report

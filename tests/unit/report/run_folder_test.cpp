#include <trireme/core/error.h>
#include <trireme/core/fault.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/run_folder.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::report {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;

// The fault sites read their variable once a process.
constexpr long full_disk = 201;
const int fault_declared = ::setenv("TRIREME_FAULT", "storage.write:*:201:enospc", 1);

class Folder : public testing::Test {
 protected:
  void SetUp() override { make_run_folder(paths_); }
  void TearDown() override { std::filesystem::remove_all(paths_.root); }

  static std::string text(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  static std::vector<Json> lines(const std::filesystem::path& path) {
    std::vector<Json> records;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) records.push_back(Json::parse(line));
    return records;
  }
  static std::vector<int64_t> steps(const std::filesystem::path& path) {
    std::vector<int64_t> result;
    for (const Json& record : lines(path)) result.push_back(record.at("step"));
    return result;
  }
  /// Two ranks, one step of 1 s, half of which waits for data.
  static Window window() {
    RankRow row{};
    row[index_of(telemetry::Phase::data)] = 0.5;
    row[index_of(telemetry::Phase::forward)] = 0.5;
    row[index_of(Item::step_seconds)] = 1;
    row[index_of(Item::steps)] = 1;
    return window_of({row, row});
  }
  RunFolder open(std::optional<int64_t> step) {
    std::optional<RunFolder::Resumed> resumed;
    if (step) resumed = {.step = *step, .evaluated = *step};
    return {paths_, "model: {}\n", resumed, {"n1", "n2"}};
  }

  RunPaths paths_{std::filesystem::path(testing::TempDir()) /
                  ("run_folder_" + std::to_string(getpid()))};
};

TEST_F(Folder, HasTheDocumentedLayout) {
  RunFolder folder = open({});
  EXPECT_EQ(folder.attempt(), 1);
  EXPECT_EQ(text(paths_.root / "config.yaml"), "model: {}\n");
  for (const char* name : {"logs", "control", "checkpoints"})
    EXPECT_TRUE(std::filesystem::is_directory(paths_.root / name));
  EXPECT_EQ(paths_.log(3), paths_.root / "logs/rank003.log");
  EXPECT_EQ(paths_.log(1234).filename(), "rank1234.log");
  folder.log_event({"started", 0, {}});
  folder.log_metrics({.step = 10}, window());
  folder.log_eval({.step = 10, .loss = 2, .metrics = {}, .samples = 4});
  EXPECT_THAT(steps(paths_.root / "metrics.jsonl"), ElementsAre(10));
  EXPECT_THAT(steps(paths_.root / "eval.jsonl"), ElementsAre(10));
  EXPECT_EQ(lines(paths_.root / "metrics.jsonl")[0].at("phases").at("data").at("max_host"), "n1");
  const Json event = lines(paths_.root / "events.jsonl").at(0);
  EXPECT_EQ(event.at("event"), "started");
  EXPECT_EQ(event.at("attempt"), 1);
  EXPECT_EQ(event.at("time").get<std::string>().size(), 24U);
}

TEST_F(Folder, AResumeCutsBackSoThatNoStepAppearsTwice) {
  {
    RunFolder folder = open({});
    folder.log_event({"started", 0, {}});
    for (const int64_t step : {10, 20, 30}) {
      folder.log_metrics({.step = step}, window());
      folder.log_eval({.step = step, .loss = 0, .metrics = {}, .samples = 0});
      folder.log_event({"saved", step, {}});
    }
    folder.log_event({"skipped", 25, {}});
    folder.log_event({"failed", 34, {}});
  }
  std::ofstream(paths_.metrics(), std::ios::app) << R"({"step": 34, "loss)";  // torn by a crash
  write_exit_record(paths_.root, ExitRecord{.code = 41, .kind = "peer_lost"});

  RunFolder folder = open(20);
  EXPECT_EQ(folder.attempt(), 2);
  EXPECT_FALSE(std::filesystem::exists(paths_.exit()));
  EXPECT_THAT(steps(paths_.metrics()), ElementsAre(10, 20));
  EXPECT_THAT(steps(paths_.eval()), ElementsAre(10, 20));
  std::vector<std::string> names;
  for (const Json& record : lines(paths_.events())) names.push_back(record.at("event"));
  EXPECT_THAT(names, ElementsAre("started", "saved", "saved", "failed"));
  folder.log_metrics({.step = 30}, window());
  EXPECT_THAT(steps(paths_.metrics()), ElementsAre(10, 20, 30));
  EXPECT_EQ(lines(paths_.metrics()).back().at("attempt"), 2);
}

TEST_F(Folder, AnEvaluationThatTheCheckpointDoesNotKnowIsToCome) {
  {
    RunFolder folder = open({});
    for (const int64_t step : {10, 20}) folder.log_metrics({.step = step}, window());
    for (const int64_t step : {10, 20})
      folder.log_eval({.step = step, .loss = 0, .metrics = {}, .samples = 0});
  }
  const RunFolder folder(paths_, "model: {}\n", RunFolder::Resumed{.step = 20, .evaluated = 10},
                         {"n1"});
  EXPECT_THAT(steps(paths_.metrics()), ElementsAre(10, 20));
  EXPECT_THAT(steps(paths_.eval()), ElementsAre(10));
}

TEST_F(Folder, TemporariesOfAKilledProcessAreRemoved) {
  const auto stale = paths_.root / "metrics.jsonl.tmp-0123abcd", other = paths_.root / "x.tmp-mine";
  for (const auto& path : {stale, other}) std::ofstream(path) << "{}\n";
  const RunFolder folder = open({});
  EXPECT_FALSE(std::filesystem::exists(stale));
  EXPECT_TRUE(std::filesystem::exists(other));
}

TEST_F(Folder, AFreshStartKeepsOnlyTheHistoryOfAttempts) {
  {
    RunFolder folder = open({});
    folder.log_event({"started", 0, {}});
    folder.log_eval({.step = 0, .loss = 0, .metrics = {}, .samples = 0});
    folder.log_metrics({.step = 10}, window());
    folder.log_event({"saved", 10, {}});
  }
  const RunFolder folder = open({});
  EXPECT_EQ(folder.attempt(), 2);
  EXPECT_THAT(steps(paths_.metrics()), IsEmpty());
  EXPECT_THAT(steps(paths_.eval()), IsEmpty());
  EXPECT_EQ(lines(paths_.events()).size(), 1U);
}

TEST_F(Folder, AttemptsGrowAlsoWhenAllMetricsAreCut) {
  for (int64_t attempt = 1; attempt <= 4; ++attempt) {
    RunFolder folder = open(attempt == 1 ? std::nullopt : std::optional<int64_t>(0));
    EXPECT_EQ(folder.attempt(), attempt);
    folder.log_event({attempt == 1 ? "started" : "resumed", 0, {}});
    folder.log_metrics({.step = 5}, window());
  }
}

TEST_F(Folder, DamagedLinesDoNotStopAResume) {
  std::ofstream(paths_.events())
      << "not json\n[]\n{\"event\": \"started\", \"attempt\": 7, \"step\": 0}\n";
  std::ofstream(paths_.metrics()) << "{\"step\": \"five\"}\n{\"step\": 5}\n3\n";
  const RunFolder folder = open(5);
  EXPECT_EQ(folder.attempt(), 8);
  EXPECT_THAT(steps(paths_.metrics()), ElementsAre(5));
  EXPECT_EQ(lines(paths_.events()).size(), 1U);
}

TEST_F(Folder, TheReportHoldsAllWindowsOfTheAttempt) {
  RunFolder folder = open({});
  EXPECT_EQ(folder.write_report(), "no step was measured");
  folder.log_metrics({.step = 10}, window());
  EXPECT_EQ(folder.write_report(),
            "INPUT-BOUND: 50 % of the step waits for data; most on rank 0 on n1: 50 %");
  const Json json = Json::parse(text(paths_.report()));
  EXPECT_EQ(json.at("attempt"), 1);
  EXPECT_EQ(json.at("ranks").size(), 2U);
}

TEST_F(Folder, ARecordThatCannotBeWrittenIsLostAndTheRunGoesOn) {
  {
    RunFolder folder = open({});
    folder.log_metrics({.step = 1}, window());
    testing::internal::CaptureStderr();
    core::fault::set_step(full_disk);
    for (const int64_t step : {2, 3}) folder.log_metrics({.step = step}, window());
    folder.log_event({"saved", 3, {}});
    folder.log_eval({.step = 3, .loss = 0, .metrics = {}, .samples = 0});
    EXPECT_EQ(folder.write_report(),
              "INPUT-BOUND: 50 % of the step waits for data; most on rank 0 on n1: 50 %");
    core::fault::set_step(-1);
    const std::string told = testing::internal::GetCapturedStderr();
    EXPECT_THAT(told, HasSubstr("a record is lost (1 so far), the run goes on: "));
    EXPECT_THAT(told, HasSubstr(paths_.metrics().native()));
    EXPECT_THAT(told, Not(HasSubstr("(2 so far)"))) << "not every time";
    EXPECT_THAT(told, HasSubstr("the report could not be written: "));
    EXPECT_EQ(folder.lost_records(), 4);
    folder.log_metrics({.step = 4}, window());
    testing::internal::CaptureStderr();
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("4 records of metrics, evaluations and events could not be written"));
  EXPECT_THAT(steps(paths_.metrics()), ElementsAre(1, 4));
}

TEST(LostRecords, AreToldAtTheFirstAndThenOnceAMinute) {
  using namespace std::chrono_literals;
  const LostRecords::Clock::time_point start{};
  LostRecords lost;
  EXPECT_TRUE(lost.add(start));
  EXPECT_FALSE(lost.add(start + 1s));
  EXPECT_FALSE(lost.add(start + 59s));
  EXPECT_TRUE(lost.add(start + 60s));
  EXPECT_FALSE(lost.add(start + 119s));
  EXPECT_TRUE(lost.add(start + 121s));
  EXPECT_EQ(lost.count(), 6);
}

TEST_F(Folder, TheExitRecordNamesThePresentAttempt) {
  {
    RunFolder folder = open({});
    folder.log_event({"started", 0, {}});
  }
  comm::Failure failure;
  failure.kind = ErrorKind::hang;
  failure.rank = 1;
  failure.message = "all_reduce took too long";
  write_exit_record(paths_.root, failure);
  const Json json = Json::parse(text(paths_.root / "exit.json"));
  EXPECT_EQ(json.at("attempt"), 1);
  EXPECT_EQ(json.at("code"), 40);
  EXPECT_EQ(json.at("resumable"), true);
  write_exit_record(paths_.root, ExitRecord{});
  EXPECT_EQ(Json::parse(text(paths_.exit())).at("code"), 0);
}

TEST_F(Folder, AFolderThatCannotBeMadeIsAStorageError) {
  const std::filesystem::path file = paths_.root / "file";
  std::ofstream(file) << "x";
  try {
    make_run_folder({file / "run"});
    FAIL() << "made";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), testing::HasSubstr("file"));
  }
  EXPECT_EQ(text(file), "x");
}

}  // namespace
}  // namespace trireme::report

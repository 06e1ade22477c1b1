#include <trireme/core/error.h>
#include <trireme/core/fault.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/rank_log.h>
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

TEST_F(Folder, TheReportHasAllItsParts) {
  RunFolder folder = open({});
  folder.first_step();
  folder.log_metrics({.step = 10, .loss = 2}, window());
  folder.evaluation(0.5);
  folder.finish();
  ReportParts parts;
  parts.operators = R"({"schema": 1, "operators": []})";
  parts.communication = {{.group = "world", .operation = "all_reduce", .ranks = 2, .calls = 3}};
  parts.memory_forecast = MemoryKinds{.parameters = 100};
  parts.known.data_workers = 2;
  (void)folder.write_report(std::move(parts));
  const Json json = Json::parse(text(paths_.report()));
  for (const char* key :
       {"schema", "attempt",      "steps",           "step_seconds",  "phases",
        "memory", "memory_kinds", "memory_forecast", "communication", "model_flops_per_second",
        "mfu",    "sensors",      "ranks",           "units",         "sections", "stragglers",
        "leaks",  "goodput",      "history",         "operators",     "verdict"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json.at("communication").at(0).at("operation"), "all_reduce");
  EXPECT_EQ(json.at("operators").at("schema"), 1);
  EXPECT_EQ(json.at("memory_forecast").at("parameters"), 100);
  EXPECT_EQ(json.at("memory_forecast").at("gradients"), 0);
  EXPECT_TRUE(json.at("memory_forecast").at("activations").is_null()) << "was not forecast";
  EXPECT_TRUE(json.at("memory_forecast").at("batches").is_null());
  EXPECT_EQ(json.at("history").at("steps"), Json({10}));
  EXPECT_EQ(json.at("goodput").at("attempts").size(), 1U);
  EXPECT_TRUE(json.at("verdict").at("advice").is_array());
  EXPECT_FALSE(json.at("verdict").at("advice").empty());
  EXPECT_EQ(Json::parse(text(paths_.goodput())).at("attempts").at(0).at("to_step"), 10);
}

TEST_F(Folder, EachRankCutsItsOwnRecordsBack) {
  const auto file = paths_.root / "logs/rank001.jsonl", gone = paths_.root / "logs/rank003.jsonl";
  {
    RunFolder folder = open({});
    for (const int rank : {1, 3}) {
      RankLog log(paths_, rank, "n1", folder.attempt(), std::nullopt);
      for (const int64_t step : {10, 20, 30}) log.log(window().rows[0], step);
    }
  }
  const RunFolder folder = open(20);
  EXPECT_THAT(steps(file), ElementsAre(10, 20, 30)) << "not the work of rank 0";
  EXPECT_THAT(steps(gone), ElementsAre(10, 20)) << "of a rank that is no more";
  {
    RankLog log(paths_, 1, "n1", folder.attempt(), 20);
    log.log(window().rows[0], 40);
  }
  EXPECT_THAT(steps(file), ElementsAre(10, 20, 40));
  { const RankLog log(paths_, 1, "n1", folder.attempt(), 5); }
  EXPECT_THAT(steps(file), IsEmpty());
  { const RankLog log(paths_, 1, "n1", folder.attempt(), std::nullopt); }
  EXPECT_THAT(text(file), IsEmpty());
}

TEST_F(Folder, RecordsOfARankAreCutFromTheEndWhateverTheirLength) {
  const auto file = paths_.rank_records(0);
  const auto record = [](int64_t step, size_t length) {
    return Json({{"step", step}, {"text", std::string(length, 'x')}}).dump() + "\n";
  };
  std::string kept, late;
  for (int64_t step = 1; step <= 3000; ++step) kept += record(step, 100);
  kept += record(3001, 300'000);
  for (int64_t step = 3002; step <= 5000; ++step) late += record(step, step == 4000 ? 200'000 : 90);
  late += "not json\n{\"step\": 17";
  std::ofstream(file, std::ios::binary) << kept << late;
  { const RankLog log(paths_, 0, "n1", 2, 3001); }
  EXPECT_EQ(text(file), kept);
  { const RankLog log(paths_, 0, "n1", 2, 3001); }
  EXPECT_EQ(text(file), kept) << "nothing to cut";
}

TEST_F(Folder, DigestsAndProfilesThatAreUndoneAreCutBack) {
  {
    RunFolder folder = open({});
    for (const int64_t step : {10, 30}) folder.log_event({"profiled", step, {}});
  }
  std::ofstream(paths_.root / "debug.jsonl") << "{\"step\":10,\"switch\":\"a\"}\n"
                                             << "{\"step\":30,\"switch\":\"a\"}\n";
  const RunFolder folder = open(20);
  EXPECT_THAT(steps(paths_.root / "debug.jsonl"), ElementsAre(10));
  EXPECT_THAT(steps(paths_.events()), ElementsAre(10));
}

TEST_F(Folder, OlderDigestsAreCutBackToo) {
  std::ofstream(paths_.root / "debug.jsonl.2") << "{\"step\":10,\"switch\":\"a\"}\n";
  std::ofstream(paths_.root / "debug.jsonl.1") << "{\"step\":20,\"switch\":\"a\"}\n"
                                               << "{\"step\":30,\"switch\":\"a\"}\n";
  std::ofstream(paths_.root / "debug.jsonl") << "{\"step\":40,\"switch\":\"a\"}\n";
  RunFolder folder = open(20);
  EXPECT_THAT(steps(paths_.root / "debug.jsonl.2"), ElementsAre(10));
  EXPECT_THAT(steps(paths_.root / "debug.jsonl.1"), ElementsAre(20));
  EXPECT_THAT(steps(paths_.root / "debug.jsonl"), IsEmpty());
  folder.log_findings(std::vector<std::string>{R"({"step":21,"switch":"a"})"});
  EXPECT_THAT(steps(paths_.root / "debug.jsonl"), ElementsAre(21));
}

TEST_F(Folder, DigestsAreBounded) {
  RunFolder folder = open({});
  const std::string text(1 << 20, 'x');
  for (int64_t step = 1; step <= 100; ++step)
    folder.log_findings(std::vector<std::string>{Json({{"step", step}, {"text", text}}).dump()});
  uintmax_t bytes = 0;
  for (const char* const suffix : {"", ".1", ".2", ".3"})
    bytes += std::filesystem::file_size(paths_.root / (std::string("debug.jsonl") + suffix));
  EXPECT_LE(bytes, uintmax_t{64} << 20);
  EXPECT_FALSE(std::filesystem::exists(paths_.root / "debug.jsonl.4"));
  EXPECT_EQ(steps(paths_.root / "debug.jsonl").back(), 100);
}

TEST_F(Folder, SignsOfLifeAreInTheLedger) {
  RunFolder folder = open({});
  EXPECT_FALSE(std::filesystem::exists(paths_.goodput()));
  folder.alive();
  const Json first = Json::parse(text(paths_.goodput()));
  EXPECT_GE(first.at("attempts").at(0).at("last_seen"), first.at("attempts").at(0).at("started"));
  folder.alive();
  EXPECT_EQ(Json::parse(text(paths_.goodput())), first) << "not written each time";
}

TEST_F(Folder, TheReportOfManyRanksStaysSmall) {
  const std::vector<std::string> hosts(512, "node");
  RunFolder folder(paths_, "model: {}\n", {}, hosts);
  for (int64_t bin = 1; bin <= 128; ++bin) {
    std::vector<RankRow> rows(hosts.size());
    for (size_t rank = 0; rank < rows.size(); ++rank)
      for (size_t item = 0; item < item_count; ++item)
        rows[rank][item] = 1.0 / static_cast<double>(3 + item + rank + static_cast<size_t>(bin));
    for (RankRow& row : rows) row[index_of(Item::steps)] = 10;
    folder.log_metrics({.step = 10 * bin, .loss = 1}, window_of(rows));
  }
  (void)folder.write_report();
  EXPECT_LT(std::filesystem::file_size(paths_.report()), 5'500'000U);
  const Json json = Json::parse(text(paths_.report()));
  EXPECT_EQ(json.at("history").at("ranks"), 512);
  EXPECT_EQ(json.at("ranks").size(), 512U);
}

TEST_F(Folder, AStragglerIsAnEventAndStandsInTheReport) {
  RunFolder folder = open({});
  std::optional<Straggler> found;
  for (int64_t step = 10; step <= 50; step += 10) {
    std::vector<RankRow> rows(2);
    for (size_t rank = 0; rank < 2; ++rank) {
      rows[rank][index_of(telemetry::Phase::forward)] = rank == 1 ? 1.3 : 1;
      rows[rank][index_of(telemetry::Phase::comm_exposed)] = rank == 1 ? 0 : 0.3;
      rows[rank][index_of(Item::step_seconds)] = 1.3;
      rows[rank][index_of(Item::steps)] = 10;
    }
    const Findings findings = folder.log_metrics({.step = step}, window_of(rows));
    if (findings.straggler) found = findings.straggler;
  }
  ASSERT_TRUE(found);
  const Json event = lines(paths_.events()).at(0);
  EXPECT_EQ(event.at("event"), "straggler");
  EXPECT_EQ(event.at("rank"), 1);
  EXPECT_EQ(event.at("host"), "n2");
  EXPECT_EQ(event.at("section"), "forward");
  (void)folder.write_report();
  const Json json = Json::parse(text(paths_.report()));
  EXPECT_EQ(json.at("stragglers").at(0).at("rank"), 1);
  EXPECT_EQ(json.at("stragglers").at(0).at("to_step"), 50);
  EXPECT_EQ(json.at("verdict").at("kind"), "straggler");
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

TEST_F(Folder, FindingsMakeTheirFileAndMayBeLostToo) {
  RunFolder folder = open({});
  EXPECT_FALSE(std::filesystem::exists(paths_.debug()));
  const std::vector<std::string> two{R"({"step": 1})", R"({"step": 2})"}, third{R"({"step": 3})"};
  folder.log_findings(two);
  testing::internal::CaptureStderr();
  core::fault::set_step(full_disk);
  folder.log_findings(two);
  core::fault::set_step(-1);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("findings of debug switches are lost (1 so far), the run goes on: "));
  EXPECT_EQ(folder.lost_records(), 0) << "of metrics, evaluations and events";
  folder.log_findings(third);
  EXPECT_THAT(steps(paths_.debug()), ElementsAre(1, 2, 3));
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

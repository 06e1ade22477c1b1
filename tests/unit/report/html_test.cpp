#include <trireme/core/error.h>
#include <trireme/report/html.h>
#include <trireme/report/run_records.h>

#include "report/run_records_columns.h"
#include "report/run_records_metrics.h"
#include "report/run_records_points.h"
#include "report/run_records_report.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::report {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

class RunRecords : public ::testing::Test {
 protected:
  void SetUp() override {
    paths_.root = fs::path(testing::TempDir()) /
                  fmt::format("html-{}-{}", getpid(),
                              testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(paths_.root);
  }
  void TearDown() override { fs::remove_all(paths_.root); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream(paths_.root / name, std::ios::binary) << text;
  }
  nlohmann::json read(bool held = false) {
    return nlohmann::json::parse(run_records(paths_, held));
  }

  static std::string metrics_line(int64_t step, const std::string& loss) {
    return fmt::format(
        R"({{"schema":1,"attempt":1,"step":{},"loss":{},"step_seconds":0.5,"phases":{{"data":{{"min":0.1,"mean":0.2,"p95":0.3,"max":0.3,"max_rank":1,"max_host":"n1"}},"forward":{{"mean":0.25,"max":0.3,"max_rank":0,"max_host":"n0"}}}},"memory":{{"peak":{{"min":1,"mean":2,"max":{},"max_rank":{},"max_host":"n{}"}}}}}})"
        "\n",
        step, loss, 100 + step % 7, step % 7, step % 7);
  }

  RunPaths paths_;
};

std::string text_of(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

TEST(PointsToDraw, AreAllWhereThereIsRoom) {
  const std::vector<double> curve{3, 1, 2};
  const std::span<const double> one = curve;
  EXPECT_THAT(points_to_draw(std::span(&one, 1), 3), ElementsAre(0, 1, 2));
  const std::vector<double> none;
  const std::span<const double> empty = none;
  EXPECT_THAT(points_to_draw(std::span(&empty, 1), 3), ElementsAre());
}

TEST(PointsToDraw, KeepExtremesGapsAndBothEnds) {
  std::mt19937 random(7);
  std::vector<double> loss(100'000), seconds(loss.size());
  for (size_t i = 0; i < loss.size(); ++i) {
    loss[i] = std::uniform_real_distribution(1.0, 2.0)(random);
    seconds[i] = std::uniform_real_distribution(0.1, 0.2)(random);
  }
  loss[51'234] = 900;
  loss[12'345] = -5;
  loss[77'777] = nan;
  seconds[3] = 60;
  const std::array<std::span<const double>, 2> curves{loss, seconds};
  const std::vector<size_t> points = points_to_draw(curves, 2000);
  EXPECT_LE(points.size(), 2000U);
  EXPECT_GT(points.size(), 1000U);
  EXPECT_TRUE(std::is_sorted(points.begin(), points.end()));
  EXPECT_EQ(std::adjacent_find(points.begin(), points.end()), points.end());
  EXPECT_EQ(points.front(), 0U);
  EXPECT_EQ(points.back(), loss.size() - 1);
  for (const size_t index : {51'234, 12'345, 77'777, 3}) EXPECT_THAT(points, Contains(index));
}

TEST(Columns, TakeMeansAndOfMemoryTheMost) {
  Columns columns;
  EXPECT_TRUE(columns.add(
      R"({"step":1,"loss":2.5,"goodput":null,"host_syncs":{"min":1,"mean":2,"max":3,"max_rank":1},"memory":{"peak":{"mean":5,"max":7,"max_rank":1,"max_host":"n1"}},"list":[1,{"loss":9}]})"));
  EXPECT_TRUE(columns.add(
      R"({"loss":1.5,"step":2,"memory":{"peak":{"max":9,"max_rank":0,"max_host":"n0"}}})"));
  EXPECT_FALSE(columns.add(R"({"loss":0.5,"step":3,)"));
  EXPECT_FALSE(columns.add("[1]"));
  EXPECT_FALSE(columns.add("17"));
  EXPECT_TRUE(
      columns.add(R"({"step":4,"memory":{"peak":{"max":8,"max_rank":1,"max_host":"n1"}}})"));
  EXPECT_EQ(columns.lines(), 3U);
  EXPECT_THAT(columns.column("step"), ElementsAre(1, 2, 4));
  EXPECT_EQ(columns.column("loss")[1], 1.5);
  EXPECT_TRUE(std::isnan(columns.column("loss")[2]));
  EXPECT_EQ(columns.host_of_most("memory/peak"), "n0");
  const Json shown = columns.json();
  EXPECT_EQ(shown["loss"].dump(), "[2.5,1.5,null]");
  EXPECT_EQ(shown["host_syncs"].dump(), "[2,null,null]");
  EXPECT_EQ(shown["memory/peak/max"].dump(), "[7,9,8]");
  EXPECT_EQ(shown["memory/peak/max_rank"].dump(), "[1,0,1]");
  EXPECT_FALSE(shown.contains("memory/peak"));
  EXPECT_FALSE(shown.contains("host_syncs/max"));
  EXPECT_FALSE(shown.contains("list"));
}

TEST(NumberAfter, FindsTheFirst) {
  EXPECT_EQ(number_after(R"({"step":7,"loss": -2.5e-3,"x":{"loss":9}})", "loss"), -2.5e-3);
  EXPECT_TRUE(std::isnan(number_after(R"({"loss":null})", "loss")));
  EXPECT_TRUE(std::isnan(number_after(R"({"losses":1})", "loss")));
}

TEST(Rounded, KeepsDigitsAndWholeNumbers) {
  EXPECT_EQ(rounded(0.123456789, 4), 0.1235);
  EXPECT_EQ(rounded(-123456.0, 3), -123000.0);
  EXPECT_EQ(rounded(0, 3), 0);
  Json json = {{"a", 0.123456789}, {"b", {1.0, 29707976.0}}, {"c", 12345678901}};
  round_numbers(json, 9);
  EXPECT_EQ(json.dump(), R"({"a":0.123456789,"b":[1,29707976],"c":12345678901})");
}

TEST(ShortenedReport, KeepsTheHistoryOfManyRanksSmall) {
  constexpr int ranks = 512, bins = 128;
  Json report = {
      {"history", {{"steps", Json::array()}, {"ranks", ranks}, {"items", Json::object()}}}};
  for (int bin = 1; bin <= bins; ++bin) report["history"]["steps"].push_back(bin * 10);
  for (const char* name :
       {"data", "forward", "backward", "comm_exposed", "step_seconds", "peak", "graph", "flops"}) {
    Json& item = report["history"]["items"][name] = Json::array();
    for (int bin = 0; bin < bins; ++bin) {
      Json row = Json::array();
      for (int rank = 0; rank < ranks; ++rank) {
        const bool nothing = std::string(name) == "graph";
        row.push_back(nothing ? 0.0 : 1.0 / 3 + (bin == 5 && rank == 7 ? 1000 : 0));
      }
      item.push_back(std::move(row));
    }
  }
  const Json shown = shortened_report(report)["history"];
  EXPECT_FALSE(shown["items"].contains("graph")) << "nothing was spent there";
  EXPECT_FALSE(shown["items"].contains("flops")) << "no map shows it";
  const size_t fewer = shown["steps"].size();
  EXPECT_EQ(fewer, 64U);
  EXPECT_EQ(shown["steps"].back(), 1280);
  for (const char* name : {"data", "step_seconds", "peak"}) {
    ASSERT_EQ(shown["items"][name].size(), fewer);
    ASSERT_EQ(shown["items"][name][0].size(), size_t{ranks});
  }
  EXPECT_NEAR(shown["items"]["data"][2][7].get<double>(), 500.3, 0.1) << "the mean of two bins";
  EXPECT_NEAR(shown["items"]["peak"][2][7].get<double>(), 1000.3, 1) << "the larger of two bins";
  EXPECT_LT(dump(shown).size(), size_t{2} << 20);
}

TEST_F(RunRecords, OfNoRunFolderAreAnError) {
  for (const fs::path& root : {paths_.root / "absent", paths_.root}) {
    try {
      (void)run_records({root}, false);
      FAIL() << root;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input_missing);
      EXPECT_THAT(error.message(), HasSubstr(root.string()));
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

TEST_F(RunRecords, TellHowTheRunEnded) {
  write("config.yaml", "run: {dir: x}\n");
  EXPECT_EQ(read()["state"], "empty");
  write("metrics.jsonl", metrics_line(1, "2.5"));
  EXPECT_EQ(read()["state"], "lost");
  EXPECT_EQ(read(/*held=*/true)["state"], "running");
  EXPECT_EQ(read()["state"], "lost");
  write("events.jsonl", "{\"event\":\"started\"}\n{\"event\":\"finished\"}\n");
  EXPECT_EQ(read(/*held=*/true)["state"], "finished") << "the page that the run itself writes";
  write("events.jsonl", "{\"event\":\"finished\"}\n{\"event\":\"resumed\"}\n");
  EXPECT_EQ(read(/*held=*/true)["state"], "running");
  write("events.jsonl", "{\"event\":\"preempted\"}\n");
  EXPECT_EQ(read(/*held=*/true)["state"], "stopped");
  write("exit.json", R"({"code":75,"resumable":true})");
  EXPECT_EQ(read()["state"], "stopped");
  write("exit.json", R"({"code":50,"resumable":false})");
  EXPECT_EQ(read()["state"], "failed");
  write("exit.json", R"({"code":0})");
  EXPECT_EQ(read()["state"], "finished");
}

TEST_F(RunRecords, MakeAReportFromTheMetricsWhereThereIsNone) {
  write("metrics.jsonl",
        metrics_line(1, "2.5") + metrics_line(2, "2.25") + metrics_line(6, "null"));
  const nlohmann::json records = read();
  EXPECT_EQ(records["estimated"], true);
  EXPECT_DOUBLE_EQ(records["report"]["phases"]["data"]["mean"].get<double>(), 0.2);
  EXPECT_EQ(records["report"]["memory"]["peak"]["max"], 106);
  EXPECT_EQ(records["report"]["memory"]["peak"]["max_rank"], 6);
  EXPECT_EQ(records["report"]["memory"]["peak"]["max_host"], "n6");
  EXPECT_EQ(records["report"]["verdict"]["kind"], "input-bound");
  EXPECT_EQ(records["metrics"]["columns"]["loss"].dump(), "[2.5,2.25,null]");
  write("report.json", R"({"verdict":{"text":"IT"}})");
  EXPECT_EQ(read()["estimated"], false);
  EXPECT_EQ(read()["report"]["verdict"]["text"], "IT");
}

TEST_F(RunRecords, DoNotShowTheReportOfAnAttemptBeforeAsTheRun) {
  const auto metrics = [](int attempt, int step) {
    return fmt::format(R"({{"attempt":{},"step":{},"loss":1,"step_seconds":0.5}})", attempt, step) +
           "\n";
  };
  write("report.json", R"({"attempt":1,"verdict":{"text":"OLD"}})");
  write("metrics.jsonl", metrics(1, 10));
  EXPECT_EQ(read()["report"]["verdict"]["text"], "OLD");
  EXPECT_TRUE(read()["note"].is_null());
  write("metrics.jsonl", metrics(1, 10) + metrics(2, 20));
  const nlohmann::json resumed = read();
  EXPECT_EQ(resumed["estimated"], true);
  EXPECT_NE(resumed["report"]["verdict"]["text"], "OLD");
  EXPECT_EQ(resumed["note"], "report.json is of attempt 1, and attempt 2 has not written one yet");
  write("metrics.jsonl", metrics(1, 10));
  write("events.jsonl", R"({"attempt":2,"event":"resumed","step":10})"
                        "\n");
  EXPECT_EQ(read()["estimated"], true) << "killed before its first logged step";
  write("exit.json", R"({"code":0})");
  EXPECT_EQ(read()["report"]["verdict"]["text"], "OLD")
      << "a finished run that was started again measured nothing";
}

TEST_F(RunRecords, HaveTheGoodputOfKilledRuns) {
  const std::string ledger =
      R"({"goodput":0.75,"wall_seconds":100,"attempts":[{"attempt":2,"marks":[[1,2]]}]})";
  write("goodput.json", ledger);
  write("metrics.jsonl", metrics_line(1, "2.5"));
  EXPECT_EQ(read()["report"]["goodput"]["goodput"], 0.75);
  EXPECT_FALSE(read()["report"]["goodput"]["attempts"][0].contains("marks"));
  write("report.json", R"({"attempt":1,"goodput":{"goodput":0.5}})");
  EXPECT_EQ(read()["report"]["goodput"]["goodput"], 0.75) << "of an attempt before";
  write("report.json", R"({"attempt":2,"goodput":{"goodput":0.5}})");
  EXPECT_EQ(read()["report"]["goodput"]["goodput"], 0.5);
  fs::remove(paths_.root / "metrics.jsonl");
  fs::remove(paths_.root / "report.json");
  write("config.yaml", "a: 1\n");
  EXPECT_EQ(read()["report"]["goodput"]["goodput"], 0.75);
}

TEST_F(RunRecords, TellOfWhatIsDamagedAndShowTheRest) {
  write("metrics.jsonl",
        metrics_line(1, "2.5") + "rubbish\n" + metrics_line(2, "2.25") + R"({"step":3,"lo)");
  write("report.json", R"({"verdict": )");
  write("operators.json", "[]");
  const nlohmann::json records = read();
  EXPECT_EQ(records["metrics"]["lines"], 2);
  EXPECT_EQ(records["estimated"], true);
  EXPECT_EQ(records["operators"], nullptr);
  EXPECT_EQ(records["unread"].size(), 3U) << records["unread"];
  EXPECT_THAT(records["unread"].dump(),
              HasSubstr("metrics.jsonl: 1 damaged line, the first is line 2"));
}

TEST_F(RunRecords, AreBoundedWhereEventsAndFindingsAreMany) {
  std::string events, debug;
  for (int i = 0; i < 5000; ++i) {
    events += fmt::format(R"({{"event":"{}","step":{},"time":"t"}})",
                          i % 10 == 0 ? "saved" : "skipped", i) +
              "\n";
    debug +=
        fmt::format(
            R"({{"step":{},"switch":"gradient_norms","findings":[{{"rank":1,"text":"f{}"}}]}})", i,
            i) +
        "\n";
  }
  write("events.jsonl", events);
  const size_t half = debug.find(R"({"step":2500)");
  write("debug.jsonl.1", debug.substr(0, half));
  write("debug.jsonl", debug.substr(half));
  const nlohmann::json records = read();
  EXPECT_EQ(records["events"]["counts"]["skipped"], 4500);
  EXPECT_EQ(records["events"]["shown"].size(), 800U);
  EXPECT_EQ(records["events"]["shown"].back()["step"], 4999);
  EXPECT_EQ(records["debug"]["findings_count"], 5000);
  EXPECT_EQ(records["debug"]["digests"]["gradient_norms"], 5000);
  EXPECT_EQ(records["debug"]["findings"].back()["text"], "f4999");
  EXPECT_EQ(records["debug"]["findings"].size(), 200U);
}

TEST_F(RunRecords, BecomeAPageThatHoldsNothingFromOutside) {
  write("metrics.jsonl", metrics_line(1, "2.5"));
  write("config.yaml", "# </script><script>alert(1)</script><!-- \xff\n");
  const std::string records = run_records(paths_, false);
  write_html(paths_.root / "report.html", records);
  const std::string page = text_of(paths_.root / "report.html");
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  EXPECT_THAT(page, Not(HasSubstr("alert(1)</script>"))) << "what the run says must stay text";
  EXPECT_THAT(page, HasSubstr("\\u003c/script>"));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  for (const char* outside : {"src=\"http", "href=\"http", "@import", "url("})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  try {
    write_html(paths_.root / "absent" / "page.html", records);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
  }
}

}  // namespace
}  // namespace trireme::report

#include <trireme/core/error.h>
#include <trireme/report/plain_text.h>
#include <trireme/report/top_screen.h>

#include "report/top_line.h"
#include "report/top_reader.h"
#include "report/top_tail.h"

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::report {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

namespace fs = std::filesystem;

constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

/// Columns of a line without its colours, every character being one wide.
size_t columns_of(const std::string& line) {
  size_t columns = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\033')
      i = line.find('m', i);
    else if ((static_cast<unsigned char>(line[i]) & 0xc0U) != 0x80)
      ++columns;
  }
  return columns;
}

TopRun running() {
  TopRun run;
  run.path = "runs/gpt";
  run.state = TopRun::State::running;
  run.holder = "job 7, process 12 on n1";
  run.attempt = 2;
  run.ranks = 4;
  run.record_age = 3;
  run.step = 120;
  run.total = 200;
  run.seconds_left = 83;
  run.loss = 2.34567;
  run.lr = 3e-4;
  run.grad_norm = 1.5;
  run.step_seconds = 0.1;
  run.samples_per_second = 410;
  run.tokens_per_second = 12345;
  run.losses = {5, 4, 3, not_a_number, 2.3};
  run.phases = {
      {"data", 0.02, 0.05, 3, "n2"}, {"forward", 0.08, 0.09, 1, "n1"}, {"graph", 0, 0, 0, "n1"}};
  run.memory = {{"allocated", 3.5 * (1 << 30), 4.0 * (1 << 30), 2, "n2"}};
  run.sensors = {{"celsius", 60, 71, 3, "n2"}};
  run.evaluation = TopRun::Evaluation{100, 2.5, {{"accuracy", 0.25}}};
  run.troubles = {"rank 3 on n2 is 25 % slower"};
  run.mfu = 0.41;
  run.goodput = not_a_number;
  run.switches = {"gradient_norms, all ranks"};
  run.events = {{"2026-11-21T09:30:05.123Z", "saved at step 100"}};
  run.findings = {"step 110 forward_pass, rank 1: NaN"};
  return run;
}

std::string joined(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(TopScreen, ShowsARunAtWork) {
  const std::string text = joined(top_screen(running(), {.width = 120}));
  for (const char* part : {"running  runs/gpt  attempt 2  4 ranks  job 7, process 12 on n1",
                           "step 120/200",
                           "60 %",
                           "eta 0:01:23",
                           "last record 0:00:03 ago",
                           "loss 2.3457",
                           "lr 3.00e-04",
                           "grad norm 1.5",
                           "12.3k tokens/s",
                           "410 samples/s",
                           "evaluation at step 100: loss 2.5000, accuracy 0.25",
                           "100 ms a step",
                           "rank 3 on n2",
                           "4.00 GiB",
                           "mfu 41 %",
                           "device  celsius 60 (most 71, rank 3 on n2)",
                           "trouble: rank 3 on n2 is",
                           "switched on: gradient_norms, all ranks",
                           "event: 09:30:05  saved at step 100",
                           "finding: step 110 forward_pass, rank 1: NaN"})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, HasSubstr("data            20 ms   20 %   most    50 ms  rank 3 on n2"));
  EXPECT_THAT(text, Not(HasSubstr("graph"))) << "a phase without time";
  EXPECT_THAT(text, Not(HasSubstr("\033")));
}

TEST(TopScreen, NoLineIsWiderThanTheTerminal) {
  TopRun run = running();
  run.message = std::string(500, 'm');
  run.findings = {std::string(300, 'x')};
  for (const bool colour : {false, true})
    for (const bool compact : {false, true})
      for (const int width : {1, 7, 20, 40, 80, 200}) {
        const TopStyle style{.width = width, .colour = colour, .unicode = true, .compact = compact};
        for (const std::string& line : top_screen(run, style))
          EXPECT_LE(columns_of(line), static_cast<size_t>(width)) << line;
      }
}

TEST(TopScreen, ColourChangesNothingElse) {
  const auto plain = top_screen(running(), {.width = 100}),
             coloured = top_screen(running(), {.width = 100, .colour = true});
  ASSERT_EQ(plain.size(), coloured.size());
  EXPECT_THAT(joined(coloured), HasSubstr("\033[32mrunning\033[0m"));
  for (size_t i = 0; i < plain.size(); ++i) {
    std::string stripped;
    for (size_t k = 0; k < coloured[i].size(); ++k)
      if (coloured[i][k] == '\033')
        k = coloured[i].find('m', k);
      else
        stripped += coloured[i][k];
    EXPECT_EQ(stripped, plain[i]);
  }
}

TEST(TopScreen, CompactKeepsWhatMatters) {
  const auto lines = top_screen(running(), {.width = 100, .compact = true});
  EXPECT_LE(lines.size(), 7U);
  const std::string text = joined(lines);
  for (const char* part : {"running", "step 120/200", "loss 2.3457", "trouble", "finding"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(TopScreen, WithoutUnicodeAllIsAscii) {
  TopRun run = running();
  run.path = "runs/m\u00fcll";
  for (const std::string& line : top_screen(run, {.width = 100, .unicode = false}))
    EXPECT_THAT(line, Each(testing::AllOf(testing::Ge(' '), testing::Le('~'))));
  EXPECT_THAT(top_screen(run, {.width = 100})[0], HasSubstr("runs/m\u00fcll"));
}

TEST(TopScreen, TextsCannotSteerTheTerminal) {
  TopRun run = running();
  run.findings = {
      "a\033[2Jb\r\nc\u009b31md\x7f\xff\xc3"
      "e\u202e"};
  const std::string line = top_screen(run, {.width = 100}).back();
  EXPECT_EQ(line, "  finding: a?[2Jb??c?31md???e?");
}

TEST(TopScreen, AFailureSaysWhy) {
  TopRun run;
  run.path = "r";
  run.state = TopRun::State::failed;
  run.message = "code 50 (diverged)";
  run.hint = "lower the learning rate";
  EXPECT_THAT(top_screen(run, {}),
              ElementsAre("failed  r", "  code 50 (diverged)", "  hint: lower the learning rate"));
}

TEST(TopScreen, UnknownNumbersAreNoTrouble) {
  TopRun run;
  run.state = TopRun::State::running;
  run.record_age = 0;
  run.loss = run.lr = run.step_seconds = run.grad_norm = not_a_number;
  run.losses = {not_a_number, not_a_number};
  run.phases = {{"data", not_a_number, not_a_number, -1, ""}, {"new phase", 1, 1, -1, ""}};
  EXPECT_THAT(joined(top_screen(run, {})),
              AllOf(HasSubstr("loss nan"), HasSubstr("loss !!"), HasSubstr("new phase")));
}

TEST(Sparkline, GoesFromLeastToMost) {
  const std::vector<double> values{0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(sparkline(values, true), "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588");
  EXPECT_EQ(sparkline(values, false), "_.,-~=*#");
  EXPECT_EQ(sparkline(std::vector<double>{1, 1}, false), "~~");
  EXPECT_EQ(sparkline(std::vector<double>{0, INFINITY, 1}, false), "_!#");
  const double most = std::numeric_limits<double>::max();
  EXPECT_EQ(sparkline(std::vector<double>{-most, most}, false), "_#");
  EXPECT_EQ(sparkline({}, true), "");
}

TEST(ShareCells, AddUpAndFollowTheParts) {
  EXPECT_THAT(share_cells(std::vector<double>{1, 1, 2}, 8), ElementsAre(2, 2, 4));
  EXPECT_THAT(share_cells(std::vector<double>{1, 1, 1}, 8), ElementsAre(3, 3, 2));
  EXPECT_THAT(share_cells(std::vector<double>{0, 0}, 8), ElementsAre(0, 0));
  EXPECT_THAT(share_cells(std::vector<double>{not_a_number, -1, 5}, 8), ElementsAre(0, 0, 8));
  EXPECT_THAT(share_cells({}, 8), IsEmpty());
  for (int cells = 1; cells < 40; ++cells) {
    const auto shares = share_cells(std::vector<double>{0.1, 3, 7.77, 0.001, 2}, cells);
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), 0), cells);
  }
}

TEST(ShortNumbers, HaveThreeDigits) {
  EXPECT_EQ(short_seconds(0.000350), "350 us");
  EXPECT_EQ(short_seconds(0.0123), "12.3 ms");
  EXPECT_EQ(short_seconds(0.9999), "1 s");
  EXPECT_EQ(short_seconds(12345), "12345 s");
  EXPECT_EQ(short_bytes(512), "512 B");
  EXPECT_EQ(short_bytes(1.5 * (1 << 30)), "1.50 GiB");
  EXPECT_EQ(short_bytes(1023.9 * 1024), "1.00 MiB");
  EXPECT_EQ(short_bytes(not_a_number), "?");
}

class TopFolder : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(root_ / "control"); }
  void TearDown() override { fs::remove_all(root_); }
  void append(const char* name, const std::string& text) const {
    std::ofstream(root_ / name, std::ios::app) << text;
  }
  void replace(const char* name, const std::string& text) const {
    std::ofstream(root_ / "fresh") << text;
    fs::rename(root_ / "fresh", root_ / name);
  }
  static std::string metrics(int step, const std::string& loss = "2.5", int attempt = 1) {
    return R"({"schema":1,"attempt":)" + std::to_string(attempt) + R"(,"step":)" +
           std::to_string(step) + R"(,"loss":)" + loss +
           R"(,"lr":0.001,"grad_norm":1,"step_seconds":0.5,"samples_per_second":8,"tokens_per_second":64,"skipped":1,)"
           R"("phases":{"forward":{"min":0,"mean":0.3,"p95":0.4,"max":0.4,"max_rank":1,"max_host":"n2"},)"
           R"("data":{"min":0,"mean":0.2,"p95":0.2,"max":0.2,"max_rank":0,"max_host":"n1"}},)"
           R"("memory":{"rss":{"mean":100,"max":200,"max_rank":1,"max_host":"n2"}}})"
           "\n";
  }
  static double now() {
    return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
  static TopHolder live() {
    return {.locked = true, .live = true, .name = "process 1 on n1", .why = {}};
  }

  fs::path root_ = fs::path(testing::TempDir()) / ("top_" + std::to_string(getpid()));
};

TEST_F(TopFolder, OneThatIsNoRunFolderIsRefused) {
  for (const fs::path& path : {root_, root_ / "absent"}) {
    try {
      const TopReader reader(path);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input_missing);
      EXPECT_THAT(error.message(), HasSubstr(path.string()));
      EXPECT_THAT(error.hint(), HasSubstr("run.dir"));
    }
  }
}

TEST_F(TopFolder, AFolderThatWasJustMadeIsEmpty) {
  append("config.yaml", "train: {steps: 20}\n");
  TopReader reader(root_);
  EXPECT_EQ(reader.read({}, now()).state, TopRun::State::empty);
  const TopRun run = reader.read(live(), now());
  EXPECT_EQ(run.state, TopRun::State::running);
  EXPECT_EQ(run.record_age, -1);
  EXPECT_EQ(run.total, 20);
}

TEST_F(TopFolder, ReadsARunAtWorkAsItGrows) {
  append("config.yaml", "train: {steps: 20}\n");
  append(
      "events.jsonl",
      R"({"attempt":1,"time":"2026-11-21T09:30:05.123Z","event":"started","step":0,"ranks":2,"steps":40})"
      "\n");
  append("metrics.jsonl", metrics(1, "null") + metrics(2).substr(0, 30));
  TopReader reader(root_);
  TopRun run = reader.read(live(), now());
  EXPECT_EQ(run.step, 1);
  EXPECT_TRUE(std::isnan(run.loss));
  EXPECT_EQ(run.ranks, 2);
  EXPECT_EQ(run.total, 40) << "the run's own word before the configuration's";
  append("metrics.jsonl", metrics(2).substr(30));
  append("eval.jsonl", R"({"step":2,"loss":3,"metrics":{"accuracy":0.5}})"
                       "\n");
  run = reader.read(live(), now());
  EXPECT_EQ(run.step, 2);
  EXPECT_THAT(run.losses, SizeIs(2));
  EXPECT_EQ(run.seconds_left, 19.0);
  EXPECT_EQ(run.skipped, 1);
  ASSERT_THAT(run.phases, SizeIs(2));
  EXPECT_EQ(run.phases[0].name, "data");
  EXPECT_EQ(run.phases[1].max_rank, 1);
  EXPECT_EQ(run.phases[1].max_host, "n2");
  EXPECT_EQ(run.memory.at(0).max, 200);
  EXPECT_EQ(run.evaluation.value().metrics.at(0).second, 0.5);
  EXPECT_GE(run.record_age, 0);
  EXPECT_EQ(run.events.at(0).text, "started at step 0: ranks 2, steps 40");
  for (int step = 3; step < 100; ++step) append("metrics.jsonl", metrics(step));
  EXPECT_THAT(reader.read(live(), now()).losses, SizeIs(60));
}

TEST_F(TopFolder, WhatIsLeftGoesByTheClockOnceItWasWatched) {
  append("config.yaml", "train: {steps: 30}\n");
  append("metrics.jsonl", metrics(1));
  const auto begin = fs::file_time_type::clock::now();
  fs::last_write_time(root_ / "metrics.jsonl", begin);
  TopReader reader(root_);
  EXPECT_EQ(reader.read(live(), now()).seconds_left, 14.5);
  append("metrics.jsonl", metrics(11));  // ten steps in twenty seconds
  fs::last_write_time(root_ / "metrics.jsonl", begin + std::chrono::seconds(20));
  EXPECT_NEAR(reader.read(live(), now()).seconds_left.value(), 38, 1e-3);
}

TEST_F(TopFolder, AResumeTakesBackWhatWasShown) {
  append("metrics.jsonl", metrics(1) + metrics(2) + metrics(3));
  TopReader reader(root_);
  EXPECT_EQ(reader.read(live(), now()).step, 3);
  replace("metrics.jsonl", metrics(1));
  TopRun run = reader.read(live(), now());
  EXPECT_EQ(run.step, 1);
  EXPECT_THAT(run.losses, SizeIs(1));
  append("metrics.jsonl", metrics(2, "1", 2));
  run = reader.read(live(), now());
  EXPECT_EQ(run.attempt, 2);
  EXPECT_THAT(run.losses, ElementsAre(2.5, 1));
}

TEST_F(TopFolder, TheEndIsToldByExitJsonAndTheLock) {
  append("metrics.jsonl", metrics(5));
  TopReader reader(root_);
  TopRun run = reader.read({}, now());
  EXPECT_EQ(run.state, TopRun::State::lost);
  EXPECT_THAT(run.message, HasSubstr("without a record"));
  run = reader.read({.locked = true,
                     .live = false,
                     .name = "process 1 on n1",
                     .why = "its heartbeat is 90 s old"},
                    now());
  EXPECT_EQ(run.state, TopRun::State::lost);
  EXPECT_THAT(run.message, HasSubstr("90 s old"));
  replace(
      "exit.json",
      R"({"code":50,"kind":"diverged","rank":1,"host":"n2","step":5,"message":"loss is NaN","hint":"lower it"})");
  run = reader.read({}, now());
  EXPECT_EQ(run.state, TopRun::State::failed);
  EXPECT_EQ(run.message, "code 50 (diverged) at step 5 of rank 1 on n2: loss is NaN");
  EXPECT_EQ(run.hint, "lower it");
  EXPECT_FALSE(run.seconds_left);
  replace("exit.json", R"({"code":75,"kind":"stopped"})");
  EXPECT_EQ(reader.read({}, now()).state, TopRun::State::stopped);
  replace("exit.json", R"({"code":0,"kind":"done"})");
  replace("report.json", R"({"attempt":1,"verdict":{"text":"COMPUTE-BOUND"}})");
  run = reader.read({}, now());
  EXPECT_EQ(run.state, TopRun::State::finished);
  EXPECT_EQ(run.verdict, "COMPUTE-BOUND");
  EXPECT_THAT(joined(top_screen(run, {})), HasSubstr("verdict: COMPUTE-BOUND"));
  EXPECT_THAT(run.message, IsEmpty());
  EXPECT_EQ(reader.read(live(), now()).state, TopRun::State::running);
}

TEST_F(TopFolder, ShowsFindingsSwitchesAndTroubles) {
  append("metrics.jsonl", metrics(5));
  append(
      "debug.jsonl",
      R"({"step":4,"switch":"forward_pass","ranks":{},"findings":[{"rank":1,"host":"n2","text":"NaN in layer 3"}]})"
      "\n");
  replace(
      "control/debug.status.json",
      R"({"switches":{"gradient_norms":{"ranks":"all","until_step":null},"forward_pass":{"ranks":[0,3],"until_step":9,"failed_ranks":{"3":"why"}}}})");
  append(
      "events.jsonl",
      R"({"attempt":1,"event":"straggler","step":50,"rank":3,"host":"n2","section":"data","excess":0.25,"from_step":1})"
      "\n"
      R"({"attempt":1,"event":"leak","step":60,"rank":0,"host":"n1","what":"rss","bytes_per_step":2048,"from_step":5})"
      "\n");
  TopReader reader(root_);
  TopRun run = reader.read(live(), now());
  EXPECT_THAT(run.findings, ElementsAre("step 4 forward_pass, rank 1 on n2: NaN in layer 3"));
  EXPECT_THAT(run.switches,
              ElementsAre("forward_pass, ranks 0, 3, until step 9, failed on rank 3: why",
                          "gradient_norms, all ranks"));
  EXPECT_THAT(
      run.troubles,
      ElementsAre("rank 3 on n2 is 25 % slower than the others since step 1, mostly in data",
                  "memory (rss) of rank 0 on n1 grows by 2.00 KiB a step since step 5"));
  append("events.jsonl", R"({"attempt":2,"event":"resumed","step":5,"ranks":2})"
                         "\n");
  run = reader.read({}, now());
  EXPECT_THAT(run.switches, IsEmpty()) << "nobody is there to have them on";
  EXPECT_THAT(run.troubles, IsEmpty()) << "of the attempt before";
}

TEST_F(TopFolder, FindingsStayWhenTheirFileIsRotatedAndGoWhenTheyAreUndone) {
  const auto found = [](int step) {
    return R"({"step":)" + std::to_string(step) +
           R"(,"switch":"a","findings":[{"rank":1,"host":"n2","text":"odd"}]})" + "\n";
  };
  append("config.yaml", "train: {steps: 20}\n");
  append("debug.jsonl", found(1) + found(2));
  TopReader reader(root_);
  EXPECT_EQ(reader.read(live(), now()).findings.size(), 2U);
  std::filesystem::rename(root_ / "debug.jsonl", root_ / "debug.jsonl.1");
  append("debug.jsonl", found(3));
  EXPECT_EQ(reader.read(live(), now()).findings.size(), 3U);
  std::filesystem::rename(root_ / "debug.jsonl", root_ / "old");  // a resume cuts it
  append("debug.jsonl", found(2));
  EXPECT_EQ(reader.read(live(), now()).findings.size(), 1U);
}

TEST_F(TopFolder, DamagedFilesAreNoErrors) {
  append("metrics.jsonl",
         "[1]\nnot json\n{\"step\":\"three\",\"phases\":[1],\"memory\":{\"rss\":7}}\n\n");
  append("eval.jsonl", "{\"metrics\":3}\n");
  append("events.jsonl",
         "{\"event\":{}}\n{\"event\":\"leak\"}\n{\"event\":\"saved\",\"why\":\"\xff\"}\n");
  append("debug.jsonl", "{\"findings\":[3,{\"rank\":\"x\"}]}\n{\"findings\":7}\n");
  append("exit.json", "{\"code\":");
  append("report.json", "{\"attempt\":0,\"verdict\":[3,null,{}]}");
  append("control/debug.status.json", "{\"switches\":{\"a\":3,\"b\":{\"failed_ranks\":[1]}}}");
  append("config.yaml", "train: [");
  TopReader reader(root_);
  const TopRun run = reader.read(live(), now());
  EXPECT_EQ(run.state, TopRun::State::running);
  EXPECT_NO_THROW(top_screen(run, {}));
  EXPECT_TRUE(nlohmann::json::accept(top_json({run})));
}

TEST_F(TopFolder, JsonHasTheSameInIt) {
  append("metrics.jsonl", metrics(4) + metrics(5, "null"));
  TopReader reader(root_);
  const auto json = nlohmann::json::parse(top_json({reader.read(live(), now())}));
  EXPECT_EQ(json.at("schema"), 1);
  const auto& run = json.at("runs").at(0);
  EXPECT_EQ(run.at("state"), "running");
  EXPECT_EQ(run.at("step"), 5);
  EXPECT_TRUE(run.at("loss").is_null());
  EXPECT_TRUE(run.at("total_steps").is_null());
  EXPECT_EQ(run.at("losses").at(0), 2.5);
  EXPECT_EQ(run.at("phases").at("forward").at("max_host"), "n2");
}

TEST_F(TopFolder, TheTailOfALongFileBeginsWithAWholeLine) {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += std::to_string(i) + "\n";
  append("lines", text);
  for (const size_t most : {8U, 9U, 10U, 11U, 4000U}) {
    LineTail tail(root_ / "lines", most);
    const LineTail::News news = tail.poll();
    ASSERT_THAT(news.lines, Not(IsEmpty()));
    EXPECT_EQ(news.lines.back(), "999");
    EXPECT_EQ(news.lines.front(), std::to_string(1000 - news.lines.size()));
    EXPECT_EQ(news.lines.size(), most == 4000 ? 1000U : most / 4);
    EXPECT_THAT(tail.poll().lines, IsEmpty());
  }
}

TEST_F(TopFolder, ATailSeesWhatWasAppendedCutOrTakenAway) {
  LineTail tail(root_ / "lines", 1000);
  EXPECT_FALSE(tail.poll().again);
  append("lines", "one\ntw");
  EXPECT_THAT(tail.poll().lines, ElementsAre("one"));
  append("lines", "o\n\n");
  EXPECT_THAT(tail.poll().lines, ElementsAre("two", ""));
  fs::resize_file(root_ / "lines", 4);
  LineTail::News news = tail.poll();
  EXPECT_TRUE(news.again);
  EXPECT_THAT(news.lines, ElementsAre("one"));
  fs::remove(root_ / "lines");
  EXPECT_TRUE(tail.poll().again);
  EXPECT_FALSE(tail.poll().again);
}

TEST(PlainText, HoldsNothingThatSteersATerminalAndWholeCharacters) {
  EXPECT_EQ(plain_text("a\x1b[2Jb\nc\x7f\u009b\u202ed"), "a?[2Jb?c???d");
  EXPECT_EQ(plain_text("\xff\xc3"), "??");
  EXPECT_EQ(plain_text("gr\u00fc\u00dfe"), "gr\u00fc\u00dfe");
  EXPECT_EQ(plain_text("gr\u00fc\u00dfe", 3), "gr\u00fc");
  EXPECT_EQ(plain_text("a\u6f22b", 2), "a") << "a wide character needs two columns";
  EXPECT_EQ(plain_text("", 0), "");
}

}  // namespace
}  // namespace trireme::report

#include "debug/journal.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <unistd.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class JournalTest : public testing::Test {
 protected:
  void TearDown() override {
    std::error_code ignored;
    fs::permissions(folder_, fs::perms::owner_all, ignored);
    fs::remove_all(folder_);
  }
  SwitchJournal make(storage::RotatedFile::Limits limits = {}) {
    return {{.which = Switch::gradient_norms, .rank = 3, .attempt = 2, .step = &step_},
            folder_ / "debug",
            limits};
  }
  std::vector<nlohmann::json> lines(const std::string& suffix = "") const {
    std::vector<nlohmann::json> read;
    std::ifstream file(path(suffix));
    for (std::string line; std::getline(file, line);) read.push_back(nlohmann::json::parse(line));
    return read;
  }
  fs::path path(const std::string& suffix = "") const {
    return folder_ / "debug" / ("gradient_norms.rank003.jsonl" + suffix);
  }

  std::atomic<int64_t> step_{7};
  fs::path folder_ =
      fs::path(testing::TempDir()) /
      (std::string("journal_") + testing::UnitTest::GetInstance()->current_test_info()->name() +
       "_" + std::to_string(getpid()));
};

TEST_F(JournalTest, OpensItsFileWithTheFirstRecord) {
  SwitchJournal journal = make();
  EXPECT_FALSE(fs::exists(folder_));
  journal.record({{"parameter", "h.0.w"}, {"norm", 1.5}});
  const auto read = lines();
  ASSERT_EQ(read.size(), 1U);
  EXPECT_EQ(read[0]["schema"], 1);
  EXPECT_EQ(read[0]["attempt"], 2);
  EXPECT_EQ(read[0]["rank"], 3);
  EXPECT_EQ(read[0]["step"], 7);
  EXPECT_EQ(read[0]["switch"], "gradient_norms");
  EXPECT_EQ(read[0]["parameter"], "h.0.w");
  EXPECT_EQ(read[0]["norm"], 1.5);
  EXPECT_THAT(read[0]["time"].get<std::string>(),
              testing::MatchesRegex("20..-..-..T..:..:......Z"));
}

TEST_F(JournalTest, KeepsTheStepThatARecordIsAbout) {
  SwitchJournal journal = make();
  journal.record({{"step", 5}, {"rank", 99}});
  EXPECT_EQ(lines()[0]["step"], 5);
  EXPECT_EQ(lines()[0]["rank"], 3);
}

TEST_F(JournalTest, NamesWhatIsNotFinite) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  SwitchJournal journal = make();
  journal.record(
      {{"a", std::numeric_limits<double>::quiet_NaN()}, {"b", {{"c", {1.0, inf}}}}, {"d", -inf}});
  EXPECT_EQ(lines()[0]["a"], "nan");
  EXPECT_EQ(lines()[0]["b"]["c"][1], "inf");
  EXPECT_EQ(lines()[0]["d"], "-inf");
}

TEST_F(JournalTest, TakesAnyBytesAndAnyValue) {
  SwitchJournal journal = make();
  journal.record({{"unit", "a\xff\nb"}});
  journal.record(3);
  EXPECT_EQ(lines().size(), 2U);
  EXPECT_EQ(lines()[1]["value"], 3);
}

TEST_F(JournalTest, GoesOnWhereAnEarlierOneEnded) {
  make().record({{"n", 1}});
  make().record({{"n", 2}});
  EXPECT_EQ(lines().size(), 2U);
}

TEST_F(JournalTest, RotatesAndForgetsTheOldest) {
  SwitchJournal journal = make({.bytes = 1000, .files = 4});
  for (int n = 0; n < 60; ++n) journal.record({{"n", n}, {"text", std::string(100, 'x')}});
  int last = 59;
  for (const char* suffix : {"", ".1", ".2", ".3"}) {
    EXPECT_LE(fs::file_size(path(suffix)), 1000U);
    const auto read = lines(suffix);
    ASSERT_FALSE(read.empty()) << suffix;
    for (auto line = read.rbegin(); line != read.rend(); ++line) EXPECT_EQ((*line)["n"], last--);
  }
  EXPECT_GT(last, 0);
  EXPECT_FALSE(fs::exists(path(".4")));
}

TEST_F(JournalTest, RotatesWhatItFindsFull) {
  fs::create_directories(folder_ / "debug");
  std::ofstream(path()) << std::string(999, ' ') << "\n";
  make({.bytes = 1000, .files = 2}).record({{"n", 1}});
  EXPECT_EQ(fs::file_size(path(".1")), 1000U);
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(JournalTest, WarnsOnceWhereItCannotWriteAndGoesOn) {
  fs::create_directories(folder_);
  std::ofstream(folder_ / "debug") << "a file where the folder should be";
  SwitchJournal journal = make();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) EXPECT_NO_THROW(journal.record({{"n", i}}));
  EXPECT_NO_THROW(journal.finding("odd"));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("records of debug switch gradient_norms on rank 3 are lost"));
  EXPECT_EQ(said.find("are lost"), said.rfind("are lost"));
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("odd"));
  fs::remove(folder_ / "debug");
  journal.record({{"n", 3}});
  EXPECT_EQ(lines().size(), 1U);
}

TEST_F(JournalTest, TellsAFindingOnceIn100Steps) {
  SwitchJournal journal = make();
  testing::internal::CaptureStderr();
  for (step_ = 7; step_ < 107; ++step_) journal.finding("h.0.w is not finite");
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("h.0.w is not finite"));
  journal.finding("h.0.w is not finite");
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("h.0.w is not finite"));
  journal.finding("h.0.w is not finite");
  EXPECT_THAT(journal.take_findings().texts, IsEmpty());
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("step 7: gradient_norms: h.0.w is not finite"));
  EXPECT_THAT(said, HasSubstr("step 107: gradient_norms: h.0.w is not finite"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 2);
  ASSERT_EQ(lines().size(), 2U);
  EXPECT_EQ(lines()[1]["finding"], "h.0.w is not finite");
}

TEST_F(JournalTest, LeavesTheConsoleOfRank0ToTheDigest) {
  SwitchJournal journal({.which = Switch::gradient_norms, .rank = 0, .step = &step_},
                        folder_ / "debug");
  testing::internal::CaptureStderr();
  journal.finding("h.0.w is not finite");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("h.0.w is not finite"));
}

TEST_F(JournalTest, Keeps20FindingsOfAWindow) {
  SwitchJournal journal = make();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 50; ++i) journal.finding("unit " + std::to_string(i));
  const SwitchJournal::Findings findings = journal.take_findings();
  EXPECT_EQ(findings.texts.size(), 20U);
  EXPECT_EQ(findings.left_out, 30);
  journal.finding("unit 50");
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("unit 50"));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 21);
  EXPECT_EQ(lines().size(), 51U);  // the file has all
}

TEST_F(JournalTest, RemembersFewTexts) {
  SwitchJournal journal = make();
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3000; ++i) journal.finding("unit " + std::to_string(i));
  (void)testing::internal::GetCapturedStderr();
  EXPECT_EQ(journal.take_findings().left_out, 2980);
}

TEST_F(JournalTest, IsWrittenByManyThreads) {
  SwitchJournal journal = make({.bytes = 20000, .files = 100});
  std::vector<std::thread> threads;
  testing::internal::CaptureStderr();
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        journal.record({{"n", t * 1000 + i}});
        if (i % 20 == 0) journal.finding("same");
      }
    });
  for (std::thread& thread : threads) thread.join();
  (void)testing::internal::GetCapturedStderr();
  std::set<int> seen;
  for (int i = 0; i < 100; ++i)
    for (const auto& line : lines(i == 0 ? "" : fmt::format(".{}", i)))
      if (line.contains("n")) seen.insert(line["n"].get<int>());
  EXPECT_EQ(seen.size(), 800U);
  EXPECT_THAT(journal.take_findings().texts, ElementsAre("same"));
}

}  // namespace
}  // namespace trireme::debug

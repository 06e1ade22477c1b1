#include <trireme/debug/control.h>
#include <trireme/debug/debugger.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::debug {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Control : public testing::Test {
 protected:
  void SetUp() override { testing::internal::CaptureStderr(); }
  void TearDown() override {
    (void)testing::internal::GetCapturedStderr();
    fs::remove_all(paths_.control);
  }
  void put(const std::string& name, const std::string& text) {
    fs::create_directories(paths_.requests());
    std::ofstream(paths_.requests() / name) << text;
  }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(paths_.requests()), {}));
  }
  nlohmann::json status() const {
    return nlohmann::json::parse(read_status(paths_).value_or("null"));
  }

  ControlPaths paths_{fs::path(testing::TempDir()) /
                      (std::string("control_") +
                       testing::UnitTest::GetInstance()->current_test_info()->name() + "_" +
                       std::to_string(getpid()))};
  ControlFolder folder_{paths_};
  const std::string on_ = R"({"action":"enable","switches":["forward_pass"]})";
  const std::string nothing_ = R"({"step":3,"switches":{},"answers":{}})";
};

TEST_F(Control, FindsNothingWhereNothingIs) {
  EXPECT_THAT(folder_.take(), IsEmpty());
  EXPECT_FALSE(folder_.has_refusals());
  EXPECT_EQ(read_status(paths_), std::nullopt);
  EXPECT_FALSE(fs::exists(paths_.control));
}

TEST_F(Control, TakesInOrderAndRemoves) {
  Request request{.switches = {Switch::forward_pass}, .ranks = {1}, .origin = "command line"};
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) {
    request.every_steps = i + 1;
    ids.push_back(submit(paths_, request));
  }
  const std::vector<Request> taken = folder_.take();
  ASSERT_EQ(taken.size(), 12U);
  for (size_t i = 0; i < taken.size(); ++i) {
    EXPECT_EQ(taken[i].id, ids[i]);
    EXPECT_EQ(taken[i].every_steps, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(taken[i].ranks, std::vector{1});
  }
  EXPECT_EQ(files(), 0U);
  EXPECT_THAT(folder_.take(), IsEmpty());
}

TEST_F(Control, IgnoresWhatIsNoRequest) {
  put("a.json.tmp-0123abcd", on_);
  put("notes.txt", "hello");
  fs::create_directories(paths_.requests() / "folder.json");
  EXPECT_THAT(folder_.take(), IsEmpty());
  EXPECT_FALSE(folder_.has_refusals());
  EXPECT_EQ(files(), 3U);
}

TEST_F(Control, AnswersDamagedFilesAndRemovesThem) {
  put("1.json", R"({"action":"enable","switches":["forward_p)");
  put("2.json", on_);
  put("3.json", R"({"action":"enable","switches":["forward_pas"]})");
  put("4.json", std::string(100000, ' '));
  put("5.json", "");
  const std::vector<Request> taken = folder_.take();
  ASSERT_EQ(taken.size(), 1U);
  EXPECT_EQ(taken[0].id, "2");
  EXPECT_EQ(files(), 0U);
  EXPECT_TRUE(folder_.has_refusals());
  folder_.write_status(nothing_, 4, true);
  EXPECT_FALSE(folder_.has_refusals());
  EXPECT_THAT(read_answer(paths_, "1")->text, HasSubstr("no JSON object"));
  EXPECT_EQ(read_answer(paths_, "2"), std::nullopt);
  EXPECT_THAT(read_answer(paths_, "3")->text, HasSubstr("did you mean 'forward_pass'?"));
  EXPECT_FALSE(read_answer(paths_, "3")->accepted);
  EXPECT_THAT(read_answer(paths_, "4")->text, HasSubstr("100000 bytes"));
  EXPECT_FALSE(read_answer(paths_, "5")->accepted);
}

TEST_F(Control, TheNameOfTheFileIsTheId) {
  put("mine.json", R"({"id":"yours","action":"disable"})");
  EXPECT_EQ(folder_.take().at(0).id, "mine");
}

TEST_F(Control, WritesTheStatusInOnePiece) {
  folder_.write_status(nothing_, 4, true);
  EXPECT_EQ(status()["schema"], 1);
  EXPECT_EQ(status()["attempt"], 4);
  EXPECT_EQ(status()["step"], 3);
  EXPECT_EQ(status()["running"], true);
  EXPECT_GT(status()["time"].get<double>(), 1.7e9);
  folder_.write_status(nothing_, 4, false);
  EXPECT_EQ(status()["running"], false);
  EXPECT_EQ(std::distance(fs::directory_iterator(paths_.control), {}), 1);
}

TEST_F(Control, GoesOnWhereTheStatusCannotBeWritten) {
  std::ofstream(paths_.control) << "a file where the folder should be";
  EXPECT_NO_THROW(folder_.write_status(nothing_, 1, true));
  EXPECT_NO_THROW(folder_.write_status(nothing_, 1, true));
  EXPECT_THAT(folder_.take(), IsEmpty());
}

TEST_F(Control, DamagedStatusIsNone) {
  fs::create_directories(paths_.control);
  for (const char* text : {"", "{", "7", R"({"answers":7})", R"({"answers":{"1":{}}})",
                           R"({"answers":{"1":{"accepted":1,"text":2}}})"}) {
    std::ofstream(paths_.status()) << text;
    EXPECT_EQ(read_answer(paths_, "1"), std::nullopt) << text;
  }
}

TEST_F(Control, WaitsForTheAnswer) {
  const std::string id = submit(paths_, {.switches = {Switch::forward_pass}, .ranks = {7}});
  std::thread run([&] {
    Debugger::Settings settings;
    settings.subject.ranks = 2;
    Debugger debugger(std::move(settings),
                      [](Switch, const Subject&, Journal&) { return std::unique_ptr<Tool>(); });
    std::vector<Request> taken;
    while ((taken = folder_.take()).empty()) std::this_thread::yield();
    (void)debugger.apply(taken[0], 5);
    folder_.write_status(debugger.status_json(5), 1, true);
  });
  const auto answer = wait_for_answer(paths_, id, std::chrono::minutes(1), [] { return true; });
  run.join();
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->accepted);
  EXPECT_THAT(answer->text, HasSubstr("there is no rank 7"));
}

TEST_F(Control, GivesUpAtTheDeadlineOrWhenTheRunEnds) {
  const std::string id = submit(paths_, {.switches = {Switch::forward_pass}});
  EXPECT_EQ(wait_for_answer(paths_, id, std::chrono::milliseconds(0), [] { return true; }),
            std::nullopt);
  int asked = 0;
  EXPECT_EQ(wait_for_answer(paths_, id, std::chrono::minutes(10), [&] { return ++asked < 2; }),
            std::nullopt);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(files(), 1U);  // it stays queued
}

}  // namespace
}  // namespace trireme::debug

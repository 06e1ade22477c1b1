#include "trainer/profiler.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <zlib.h>

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/profiler/api.h>

#include <trireme/comm/local.h>
#include <trireme/core/error.h>

#include "support/spawn_ranks.h"
#include "trainer/profile_files.h"
#include "unit/storage/temporary_folder.h"

namespace trireme::trainer {
namespace {

namespace fs = std::filesystem;
using debug::Switch;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;
using testing::UnorderedElementsAreArray;

std::string unzipped(const fs::path& path) {
  std::string text;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return text;
  std::vector<char> buffer(1 << 16);
  for (int got = 0; (got = gzread(file, buffer.data(), static_cast<unsigned>(buffer.size()))) > 0;)
    text.append(buffer.data(), static_cast<size_t>(got));
  gzclose(file);
  return text;
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (fs::exists(folder))
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::ranges::sort(names);
  return names;
}

nlohmann::json json_of(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

bool has_operator(const fs::path& operators, const std::string& name) {
  const nlohmann::json json = json_of(operators);
  return std::ranges::any_of(json["operators"], [&](const auto& one) { return one["name"] == name; });
}

/// A rank that does little in its steps.
class Rank {
 public:
  Rank(comm::World& world, const fs::path& root, const telemetry::ProfileConfig& config, const std::string& trace, int64_t keep = 8,
       int64_t keep_files = 10)
      : profiler({.profile = config, .trace = trace, .paths = {root}, .attempt = 3, .keep = keep, .keep_files = keep_files,
                  .on_event = [this](const report::Event& event) { events.push_back(event); }},
                 world, recorder, at::kCPU) {}

  void step() {
    profiler.begin_step(done);
    recorder.begin_step(done);
    eager.push_back(profiler.needs_eager_steps());
    {
      const telemetry::PhaseScope phase(recorder, telemetry::Phase::forward);
      (void)at::relu(at::ones({8}));
    }
    recorder.end_step();
    profiler.end_step(++done);
  }
  void steps(int count) {
    for (int i = 0; i < count; ++i) step();
  }
  [[nodiscard]] std::vector<std::string> event_names() const {
    std::vector<std::string> names;
    for (const report::Event& event : events) names.push_back(event.name);
    return names;
  }

  telemetry::Recorder recorder;
  std::vector<report::Event> events;
  std::vector<bool> eager;
  int64_t done = 0;
  Profiler profiler;
};

class ProfilerTest : public testing::Test {
 protected:
  const test::TemporaryFolder folder_;
  const fs::path root_ = folder_.path();
};

TEST_F(ProfilerTest, DoesNothingByDefault) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_, {.skip_first = 0}, "off");
  rank.steps(20);
  rank.profiler.finish_all(rank.done);
  EXPECT_THAT(names_in(root_), IsEmpty());
  EXPECT_THAT(rank.events, IsEmpty());
  EXPECT_THAT(rank.eager, testing::Each(false));
}

TEST_F(ProfilerTest, RecordsTheStepsOfTheSchedule) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_, {.skip_first = 1, .wait = 1, .warmup = 1, .active = 2, .repeat = 1}, "full");
  rank.steps(7);
  EXPECT_THAT(rank.eager, ElementsAre(false, false, true, true, true, false, false));
  EXPECT_THAT(rank.event_names(), ElementsAre("profiled"));
  EXPECT_EQ(rank.events[0].step, 5);
  EXPECT_THAT(names_in(root_), ElementsAre("operators.json", "trace.json.gz"));
  const nlohmann::json json = json_of(root_ / "operators.json");
  EXPECT_EQ(json["first_step"], 4) << "the fourth, as the metrics count";
  EXPECT_EQ(json["last_step"], 5);
  EXPECT_EQ(std::get<int64_t>(rank.events[0].details[0].second), 4);
  EXPECT_EQ(std::get<int64_t>(rank.events[0].details[1].second), 5);
  EXPECT_THAT(json["host_syncs"], IsEmpty()) << "on a CPU";
  EXPECT_EQ(json["attempt"], 3);
  EXPECT_EQ(json["ranks"], 1);
  for (const auto& one : json["operators"]) {
    if (one["name"] == "aten::relu") {
      EXPECT_EQ(one["calls"], 2);
    }
  }
  EXPECT_TRUE(has_operator(root_ / "operators.json", "aten::relu"));
  const std::string trace = unzipped(root_ / "trace.json.gz");
  EXPECT_THAT(trace, HasSubstr("aten::relu"));
  EXPECT_THAT(trace, HasSubstr("ProfilerStep#4"));
  EXPECT_THAT(trace, HasSubstr("ProfilerStep#5"));
  EXPECT_THAT(trace, testing::Not(HasSubstr("ProfilerStep#3")));
  EXPECT_THAT(trace, testing::Not(HasSubstr("ProfilerStep#6")));
}

TEST_F(ProfilerTest, SpansOfAllRanksInTurnsOfWhichTheLastStay) {
  test::spawn_worlds(3, [&](comm::World& world) {
    Rank rank(world, root_, {.skip_first = 1, .wait = 0, .warmup = 0, .active = 2, .repeat = 4}, "spans", /*keep=*/3);
    rank.steps(12);
    EXPECT_THAT(rank.eager, testing::Each(false));
    EXPECT_THAT(rank.event_names(), ElementsAre("profiled", "profiled", "profiled", "profiled"));
  });
  // Of steps 2, 4, 6 and 8 the first is gone.
  EXPECT_THAT(names_in(root_),
              ElementsAre("operators.json", "trace-step-00000004.json.gz", "trace-step-00000006.json.gz", "trace.json.gz"));
  EXPECT_EQ(json_of(root_ / "operators.json")["ranks"], 0);
  const std::string trace = unzipped(root_ / "trace.json.gz");
  EXPECT_THAT(trace, HasSubstr("forward"));
  for (const char* const pid : {"{\"pid\":0", "{\"pid\":1", "{\"pid\":2"}) EXPECT_THAT(trace, HasSubstr(pid));
}

TEST_F(ProfilerTest, ASwitchRecordsItsRanksUntilItIsOff) {
  test::spawn_worlds(3, [&](comm::World& world) {
    Rank rank(world, root_, {}, "off");
    rank.steps(2);
    rank.profiler.start(Switch::autograd_profiler, world.rank() == 1, rank.done);
    rank.steps(3);
    rank.profiler.finish(Switch::autograd_profiler, rank.done);
    rank.steps(2);
    rank.profiler.finish(Switch::autograd_profiler, rank.done);  // is off already
    EXPECT_THAT(rank.eager, ElementsAre(false, false, true, true, true, false, false));
    EXPECT_THAT(rank.event_names(), ElementsAre("profiled"));
  });
  const nlohmann::json json = json_of(root_ / "operators.json");
  EXPECT_EQ(json["ranks"], 1);
  EXPECT_EQ(json["first_step"], 3);
  EXPECT_EQ(json["last_step"], 5);
  EXPECT_EQ(json["operators"][0]["self_seconds"]["max_rank"], 1);
  EXPECT_TRUE(has_operator(root_ / "operators.json", "aten::relu"));
}

TEST_F(ProfilerTest, TensorBoardGetsAFileOfEachRankThatRecords) {
  std::vector<comm::RankInfo> ranks;
  std::mutex mutex;
  test::spawn_worlds(2, [&](comm::World& world) {
    {
      const std::lock_guard lock(mutex);
      ranks = world.ranks();
    }
    Rank rank(world, root_, {}, "off");
    rank.profiler.start(Switch::tensorboard_profiler, world.rank() == 1, rank.done);
    rank.steps(2);
    rank.profiler.finish_all(rank.done);
    EXPECT_THAT(rank.event_names(), ElementsAre("profiled"));
  });
  const std::vector<std::string> files = names_in(root_ / "profile");
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_THAT(files[0], testing::StartsWith(ranks[1].host + "_" + std::to_string(ranks[1].pid) + "."));
  EXPECT_THAT(files[0], testing::EndsWith(".pt.trace.json.gz"));
  const nlohmann::json json = nlohmann::json::parse(unzipped(root_ / "profile" / files[0]));
  EXPECT_EQ(json["distributedInfo"]["rank"], 1);
  EXPECT_TRUE(std::ranges::any_of(json["traceEvents"], [](const auto& one) { return one.value("name", "") == "aten::relu"; }));
}

TEST_F(ProfilerTest, OneRecordingCutsTheOtherShort) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_, {.skip_first = 0, .wait = 0, .warmup = 0, .active = 5, .repeat = 1}, "spans");
  rank.steps(2);
  rank.profiler.start(Switch::autograd_profiler, true, rank.done);  // the schedule's steps 1 and 2 are written
  rank.steps(1);
  rank.profiler.start(Switch::tensorboard_profiler, true, rank.done);  // step 3
  rank.steps(1);
  rank.profiler.finish(Switch::autograd_profiler, rank.done);  // step 4, for both
  rank.steps(1);
  rank.profiler.finish(Switch::tensorboard_profiler, rank.done);  // step 5
  rank.steps(2);
  std::vector<std::pair<int64_t, int64_t>> steps;
  for (const report::Event& event : rank.events)
    steps.emplace_back(std::get<int64_t>(event.details[0].second), std::get<int64_t>(event.details[1].second));
  EXPECT_THAT(steps, ElementsAre(std::pair(1, 2), std::pair(3, 3), std::pair(4, 4), std::pair(5, 5)));
  EXPECT_THAT(names_in(root_ / "profile"), SizeIs(2));
}

TEST_F(ProfilerTest, WhatARankCannotRecordNoRankRecords) {
  // Thread ranks share a process, which has one recorder: one of them is refused.
  test::spawn_worlds(3, [&](comm::World& world) {
    Rank rank(world, root_, {.skip_first = 1, .wait = 0, .warmup = 0, .active = 1, .repeat = 0}, "full");
    rank.steps(4);
    EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed"));
    const auto& why = std::get<std::string>(rank.events[0].details[0].second);
    EXPECT_THAT(why, HasSubstr("only one recorder"));
    EXPECT_THAT(why, HasSubstr("and 1 more rank"));
    EXPECT_THAT(rank.eager, testing::Each(false));
    // Asked for again, it is tried again.
    rank.profiler.start(Switch::autograd_profiler, world.rank() == 2, rank.done);
    rank.steps(1);
    rank.profiler.finish(Switch::autograd_profiler, rank.done);
    EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed", "profiled"));
  });
  EXPECT_TRUE(has_operator(root_ / "operators.json", "aten::relu"));
  EXPECT_FALSE(at::hasCallbacks());
}

TEST_F(ProfilerTest, ADiskThatFailsEndsTheProfileNotTheRun) {
  test::spawn_worlds(2, [&](comm::World& world) {
    Rank rank(world, root_ / "missing", {.skip_first = 0, .wait = 0, .warmup = 0, .active = 1, .repeat = 0}, "spans");
    rank.steps(3);
    EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed"));
    EXPECT_THAT(std::get<std::string>(rank.events[0].details[0].second), HasSubstr("missing"));
    EXPECT_EQ(world.all()->poisoned(), nullptr);
  });
  EXPECT_THAT(names_in(root_), IsEmpty());
  fs::create_directories(root_ / "operators.json" / "in the way");
  test::spawn_worlds(2, [&](comm::World& world) {
    Rank rank(world, root_, {.skip_first = 0, .wait = 0, .warmup = 0, .active = 1, .repeat = 0}, "spans");
    rank.steps(3);
    EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed"));
    EXPECT_THAT(std::get<std::string>(rank.events[0].details[0].second), HasSubstr("operators.json"));
  });
  EXPECT_TRUE(fs::exists(root_ / "trace.json.gz"));
}

TEST_F(ProfilerTest, AFileThatOneRankCannotWriteForTensorBoardEndsTheProfileNotTheRun) {
  std::ofstream(root_ / "profile") << "in the way";
  test::spawn_worlds(3, [&](comm::World& world) {
    Rank rank(world, root_, {}, "off");
    rank.profiler.start(Switch::tensorboard_profiler, world.rank() == 2, rank.done);
    rank.steps(1);
    rank.profiler.finish(Switch::tensorboard_profiler, rank.done);
    rank.steps(1);
    EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed"));
    const auto& why = std::get<std::string>(rank.events[0].details[0].second);
    EXPECT_THAT(why, HasSubstr("rank 2"));
    EXPECT_THAT(why, HasSubstr("profile"));
    EXPECT_EQ(world.all()->poisoned(), nullptr);
  });
}

TEST_F(ProfilerTest, TellsWhichSwitchesItGaveUpAndWhoComplained) {
  std::ofstream(root_ / "profile") << "in the way";
  test::spawn_worlds(3, [&](comm::World& world) {
    Rank rank(world, root_, {}, "off");
    rank.steps(2);
    rank.profiler.start(Switch::tensorboard_profiler, world.rank() == 2, rank.done);
    rank.steps(1);
    EXPECT_THAT(rank.profiler.take_given_up(), IsEmpty());
    rank.profiler.finish(Switch::tensorboard_profiler, rank.done);
    const std::vector<Profiler::GivenUp> given_up = rank.profiler.take_given_up();
    ASSERT_THAT(given_up, SizeIs(1));
    EXPECT_EQ(given_up[0].which, Switch::tensorboard_profiler);
    EXPECT_EQ(given_up[0].since_step, 2);
    if (world.rank() == 2)
      EXPECT_THAT(given_up[0].why, testing::AllOf(HasSubstr("profile"), testing::EndsWith("; all ranks give the recording up")));
    else
      EXPECT_EQ(given_up[0].why, "");
    EXPECT_THAT(rank.profiler.take_given_up(), IsEmpty());
    rank.steps(2);
    EXPECT_THAT(rank.eager, ElementsAre(false, false, true, false, false));
  });
}

TEST_F(ProfilerTest, ARecordingThatIsGivenUpTakesBothSwitchesWithItButNotOneThatBeginsAnew) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_ / "missing", {}, "off");
  rank.profiler.start(Switch::autograd_profiler, true, rank.done);
  rank.steps(1);
  rank.profiler.start(Switch::tensorboard_profiler, true, rank.done);  // cuts, which fails
  std::vector<Profiler::GivenUp> given_up = rank.profiler.take_given_up();
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].which, Switch::autograd_profiler);
  rank.steps(1);
  rank.profiler.start(Switch::autograd_profiler, true, rank.done);  // so does this
  given_up = rank.profiler.take_given_up();
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].which, Switch::tensorboard_profiler);
  EXPECT_EQ(given_up[0].since_step, 1);
  rank.steps(1);
  rank.profiler.start(Switch::autograd_profiler, true, rank.done);
  given_up = rank.profiler.take_given_up();
  ASSERT_THAT(given_up, SizeIs(1));
  EXPECT_EQ(given_up[0].which, Switch::autograd_profiler);
  EXPECT_EQ(given_up[0].since_step, 2) << "the recording before";
  EXPECT_TRUE(rank.profiler.needs_eager_steps()) << "it is on again";
  rank.profiler.finish_all(rank.done);
}

TEST_F(ProfilerTest, AScheduleThatIsGivenUpIsNoSwitch) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_ / "missing", {.skip_first = 0, .wait = 0, .warmup = 0, .active = 1, .repeat = 0}, "spans");
  rank.steps(2);
  EXPECT_THAT(rank.event_names(), ElementsAre("profile_failed"));
  EXPECT_THAT(rank.profiler.take_given_up(), IsEmpty());
}

TEST_F(ProfilerTest, KinetoRecordsNoMoreThanItMayHoweverLongASwitchIsOn) {
  const auto alone = comm::make_local_world();
  Rank rank(*alone, root_, {.operators = "kineto", .max_events = 20}, "off");
  rank.profiler.start(Switch::autograd_profiler, true, rank.done);
  rank.step();
  EXPECT_TRUE(torch::profiler::impl::profilerEnabled());
  rank.steps(30);
  EXPECT_FALSE(torch::profiler::impl::profilerEnabled()) << "nothing grows any more";
  EXPECT_TRUE(rank.profiler.recording());
  rank.profiler.finish(Switch::autograd_profiler, rank.done);
  ASSERT_THAT(rank.event_names(), ElementsAre("profiled"));
  const nlohmann::json operators = json_of(root_ / "operators.json");
  EXPECT_EQ(operators["last_step"], 31);
  EXPECT_GT(operators["dropped"], 30);
  EXPECT_FALSE(at::hasCallbacks());
}

TEST_F(ProfilerTest, TheLastFilesForTensorBoardStay) {
  const auto alone = comm::make_local_world();
  fs::create_directories(root_ / "profile");
  const std::string old = "n1_7.1000.pt.trace.json.gz";
  for (const std::string& name : {old, std::string("notes.txt")}) std::ofstream(root_ / "profile" / name) << "x";
  Rank rank(*alone, root_, {}, "off", /*keep=*/8, /*keep_files=*/2);
  for (int i = 0; i < 3; ++i) {
    rank.profiler.start(Switch::tensorboard_profiler, true, rank.done);
    rank.steps(1);
    rank.profiler.finish(Switch::tensorboard_profiler, rank.done);
  }
  const std::vector<std::string> names = names_in(root_ / "profile");
  EXPECT_THAT(names, SizeIs(testing::Le(3U)));  // two in one millisecond are one
  EXPECT_THAT(names, testing::Contains("notes.txt"));
  EXPECT_THAT(names, testing::Not(testing::Contains(old)));
}

TEST(SurplusFiles, AreTheOldestOfEachProcessAndOfAll) {
  const auto trace = [](const std::string& process, int64_t ms) { return process + "." + std::to_string(ms) + ".pt.trace.json.gz"; };
  const auto memory = [](const std::string& process, int64_t ms) { return process + "." + std::to_string(ms) + ".memory.pickle"; };
  const std::vector<std::string> few = {trace("n1.site_1", 5), trace("n1.site_1", 6), trace("n2.site_9", 5), memory("n1.site_1", 1),
                                        memory("n1.site_1", 2)};
  EXPECT_THAT(surplus_files(few, 2, 2), IsEmpty());
  EXPECT_THAT(surplus_files(few, 1, 2), UnorderedElementsAre(trace("n1.site_1", 5), memory("n1.site_1", 1)));
  // Times are numbers, whatever their lengths.
  EXPECT_THAT(surplus_files({trace("a_1", 999), trace("a_1", 1000)}, 1, 4), ElementsAre(trace("a_1", 999)));
  // Of processes that are no more.
  std::vector<std::string> attempts;
  for (int64_t i = 0; i < 20; ++i) attempts.push_back(trace("n_" + std::to_string(i), 100 + i));
  const std::vector<std::string> gone = surplus_files(attempts, 3, 4);
  EXPECT_THAT(gone, SizeIs(8));
  EXPECT_THAT(gone, UnorderedElementsAreArray(attempts.begin(), attempts.begin() + 8));
  const std::vector<std::string> others = {"x.pt.trace.json.gz", "n_1.late.pt.trace.json.gz", "n_1.5x.memory.pickle", ".pt.trace.json.gz", "a",
                                           ""};
  EXPECT_THAT(surplus_files(others, 0, 1), IsEmpty());
}

TEST_F(ProfilerTest, AStepThatThrowsLeavesNothingInstalled) {
  const auto alone = comm::make_local_world();
  {
    Rank rank(*alone, root_, {.skip_first = 0, .wait = 0, .warmup = 0, .active = 1, .repeat = 1}, "full");
    rank.profiler.begin_step(0);
    EXPECT_TRUE(at::hasCallbacks());
  }
  EXPECT_FALSE(at::hasCallbacks());
}

}  // namespace
}  // namespace trireme::trainer

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>

#include "checkpoint/names.h"
#include "unit/checkpoint/state.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using Steps = std::vector<int64_t>;

TEST(Names, GoBothWays) {
  for (const int64_t step : {int64_t{0}, int64_t{7}, int64_t{99999999}, int64_t{123456789012}})
    EXPECT_EQ(step_of(folder_name(step)), step);
  EXPECT_EQ(folder_name(1200), "step-00001200");
  EXPECT_EQ(shard_name(3, 8), "shard-00003-of-00008.safetensors");
  for (const std::string name :
       {"", "step-", "step-1200", "step-0000120x", "step--0000001", "step-00001200.tmp-x", "latest",
        "xstep-00001200", "step-000000001200", "step-99999999999999999999"})
    EXPECT_FALSE(step_of(name)) << name;
  EXPECT_TRUE(is_unfinished(unfinished_name(1200, "x")));
  for (const std::string name : {"step-00001200", "tmp-1", ".tmp-", "x.tmp-y", "step-12.tmp-x"})
    EXPECT_FALSE(is_unfinished(name)) << name;
}

TEST(Retention, KeepsTheLast) {
  EXPECT_THAT(retention(Steps{}, 5, {.last = 3}), ElementsAre());
  EXPECT_THAT(retention(Steps{1, 2, 3, 4}, 4, {.last = 3}), ElementsAre(1));
  EXPECT_THAT(retention(Steps{4, 1, 3, 2}, 4, {.last = 1}), ElementsAre(1, 2, 3));
  EXPECT_THAT(retention(Steps{1, 2, 3, 4}, 4, {.last = 0}), ElementsAre(1, 2, 3)) << "never all";
  EXPECT_THAT(retention(Steps{1, 2, 3, 4}, 4, {.last = 100}), ElementsAre());
  EXPECT_THAT(retention(Steps{1, 2, 9}, 2, {.last = 1}), ElementsAre(1, 9)) << "a run given up";
}

TEST(Retention, KeepsTheBestOfThoseThatAreThere) {
  const std::vector<Retention::Score> scores = {{1, 0.5}, {2, 0.9}, {3, 0.5}, {4, 0.7}, {7, 0.1}};
  EXPECT_THAT(retention(Steps{1, 2, 3, 4, 5}, 5, {.best = 1, .scores = scores}),
              ElementsAre(2, 3, 4));
  EXPECT_THAT(retention(Steps{1, 2, 3, 4, 5}, 5, {.best = 3, .scores = scores}), ElementsAre(2));
  EXPECT_THAT(retention(Steps{1, 2, 3, 4, 5}, 5, {.best = 0, .scores = scores}),
              ElementsAre(1, 2, 3, 4));
}

TEST(Retention, KeepsEveryNth) {
  EXPECT_THAT(retention(Steps{100, 150, 200, 250, 300}, 300, {.every_steps = 100}),
              ElementsAre(150, 250));
  EXPECT_THAT(retention(Steps{100, 200, 300}, 100, {.every_steps = 100}), ElementsAre(200, 300))
      << "not of a run given up";
}

TEST(Store, SetsAsideWhatLiesInAnAbandonedFuture) {
  const TemporaryFolder folder;
  const Store store(folder / "checkpoints");
  EXPECT_TRUE(store.set_aside({}).empty());
  for (const int64_t step : {100, 200, 300}) fs::create_directories(store.path_of(step));
  EXPECT_TRUE(store.set_aside(300).empty());
  EXPECT_EQ(store.set_aside(100), folder / "checkpoints.set-aside-1");
  EXPECT_THAT(store.steps(), ElementsAre(100));
  EXPECT_THAT(Store(folder / "checkpoints.set-aside-1").steps(), ElementsAre(200, 300));
  EXPECT_EQ(store.set_aside({}), folder / "checkpoints.set-aside-2");
  EXPECT_THAT(store.steps(), ElementsAre());
  EXPECT_THAT(Store(folder / "checkpoints.set-aside-2").steps(), ElementsAre(100));
}

TEST(Store, ListsWhatHasTheNameOfACheckpoint) {
  const TemporaryFolder folder;
  EXPECT_THAT(Store(folder / "none").steps(), ElementsAre());
  EXPECT_FALSE(Store(folder / "none").newest_valid().step);
  for (const std::string name :
       {"step-00000200", "step-00000100", "step-00000300.tmp-x", "step-5", "latest"})
    fs::create_directory(folder / name);
  test::put(folder / "step-00000150.txt", "");
  EXPECT_THAT(Store(folder.path()).steps(), ElementsAre(100, 200));
  const auto newest = Store(folder.path()).newest_valid();
  EXPECT_FALSE(newest.step) << "empty folders are no checkpoints";
  EXPECT_EQ(newest.skipped.size(), 2U);
}

TEST(Store, NewestValidFallsBackAndSaysWhy) {
  const TemporaryFolder folder;
  for (const int64_t step : {1, 2, 3}) test::write_state(folder.path(), step, 1);
  const Store store(folder.path());
  EXPECT_EQ(store.newest_valid().step, 3);
  EXPECT_TRUE(store.newest_valid().skipped.empty());
  fs::remove(store.path_of(3) / "manifest.json");
  fs::remove(store.path_of(2) / "shard-00000-of-00001.safetensors");
  const auto newest = store.newest_valid();
  EXPECT_EQ(newest.step, 1);
  ASSERT_EQ(newest.skipped.size(), 2U);
  EXPECT_THAT(newest.skipped[0], HasSubstr("step-00000003/manifest.json: there is no manifest"));
  EXPECT_THAT(newest.skipped[1], HasSubstr("step-00000002/shard-00000-of-00001.safetensors: the"));
}

TEST(Store, PrunesAfterACommit) {
  const TemporaryFolder folder;
  for (const int64_t step : {1, 2, 3, 4, 9}) test::write_state(folder.path(), step, 1);
  const Store store(folder.path());
  EXPECT_TRUE(store.prune(4, {.last = 2, .best = 1, .scores = {{1, 0.5}, {2, 0.6}}}).empty());
  EXPECT_THAT(store.steps(), ElementsAre(1, 3, 4));
  EXPECT_EQ(test::files_in(folder.path()), 3U);
  for (const int64_t step : store.steps()) Reader(store.path_of(step)).verify();
}

TEST(Store, RemovesWhatDeadAttemptsLeft) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 1);
  for (const std::string name : {"step-00000002.tmp-a", "step-00000003.tmp-deleted"}) {
    fs::create_directory(folder / name);
    test::put(folder / name / "shard-00000-of-00001.safetensors", "torn");
  }
  fs::create_directory(folder / "mine");
  EXPECT_THAT(Store(folder.path()).remove_stale(),
              ElementsAre("step-00000002.tmp-a", "step-00000003.tmp-deleted"));
  EXPECT_TRUE(Store(folder.path()).remove_stale().empty());
  EXPECT_EQ(test::files_in(folder.path()), 2U);
  EXPECT_TRUE(Store(folder / "none").remove_stale().empty());
}

TEST(Store, WhatCannotBeDeletedIsToldAndTriedAgain) {
  const TemporaryFolder folder;
  const Store store(folder.path());
  for (const int64_t step : {1, 2}) test::write_state(folder.path(), step, 1);
  const std::string left = (folder / "step-00000001.tmp-deleted").native();
  {
    const test::FaultScope fault(test::unlink_eio);
    const std::vector<std::string> problems = store.prune(2, {});
    ASSERT_EQ(problems.size(), 1U);
    EXPECT_THAT(problems[0], HasSubstr(left));
    EXPECT_THAT(store.steps(), ElementsAre(2)) << "it is no checkpoint any more";
    EXPECT_THAT(store.prune(2, {}), ElementsAre(HasSubstr(left)));
    testing::internal::CaptureStderr();
    EXPECT_TRUE(store.remove_stale().empty());
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr(left));
  }
  EXPECT_TRUE(store.prune(2, {}).empty());
  EXPECT_EQ(test::files_in(folder.path()), 1U);
}

TEST(Locate, TakesARunItsCheckpointsOrOneCheckpoint) {
  const TemporaryFolder folder;
  const fs::path run = folder / "run";
  test::write_state(run / "checkpoints", 1, 1);
  test::write_state(run / "checkpoints", 2, 1);
  const fs::path second = run / "checkpoints" / "step-00000002";
  EXPECT_EQ(locate(run), second);
  EXPECT_EQ(locate(run / "checkpoints"), second);
  EXPECT_EQ(locate(second), second);
  EXPECT_EQ(locate(run / "checkpoints" / "step-00000001"), run / "checkpoints" / "step-00000001");
  test::put(second / "manifest.json", "{}");
  std::vector<std::string> skipped;
  EXPECT_EQ(locate(run, &skipped), run / "checkpoints" / "step-00000001");
  ASSERT_EQ(skipped.size(), 1U);
  EXPECT_THAT(skipped[0], HasSubstr(second.native()));
  fs::remove_all(run / "checkpoints" / "step-00000001");
  const Error error = test::error_of([&] { (void)locate(run); });
  EXPECT_EQ(error.kind(), ErrorKind::no_checkpoint);
  EXPECT_THAT(error.message(), HasSubstr("skipped " + second.native()));
  EXPECT_FALSE(error.hint().empty());
  EXPECT_EQ(test::error_of([&] { (void)locate(folder / "none"); }).kind(),
            ErrorKind::no_checkpoint);
}

}  // namespace
}  // namespace trireme::checkpoint

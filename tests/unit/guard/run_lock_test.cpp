#include <trireme/core/error.h>
#include <trireme/guard/run_lock.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

namespace trireme::guard {
namespace {

using testing::HasSubstr;

class Folder : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(path_); }
  void TearDown() override { std::filesystem::remove_all(path_); }

  void put(const LockOwner& owner) { put(lock_text(owner)); }
  void put(const std::string& text) { std::ofstream(file_) << text; }
  std::string text() const {
    std::ifstream in(file_);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  std::optional<LockOwner> owner() const { return parse_lock(text()); }
  size_t files() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }
  Error refusal() {
    try {
      const RunLock lock(path_);
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the lock was given";
    return Error(ErrorKind::unexpected, "");
  }

  std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("run_lock_") + testing::UnitTest::GetInstance()->current_test_info()->name() +
       "_" + std::to_string(getpid()));
  std::filesystem::path file_ = path_ / "run.lock";
};

LockOwner elsewhere(double heartbeat_age) {
  LockOwner owner = this_process();
  owner.job = "4711";
  owner.host = "othernode";
  owner.pid = 99;
  owner.pid_scope = "another boot";
  owner.heartbeat -= heartbeat_age;
  return owner;
}

TEST_F(Folder, HoldsNamesItselfAndCleansUp) {
  {
    const RunLock lock(path_);
    ASSERT_TRUE(owner().has_value());
    EXPECT_EQ(owner()->pid, getpid());
    EXPECT_EQ(owner()->host, this_process().host);
    EXPECT_EQ(owner()->start, process_start(getpid()));
    EXPECT_FALSE(lock.lost());
  }
  EXPECT_EQ(files(), 0U);
  const RunLock again(path_);
}

TEST_F(Folder, ALiveHolderIsRespected) {
  const RunLock lock(path_);
  const std::string before = text();
  const Error error = refusal();
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr(path_.string()));
  EXPECT_THAT(error.message(), HasSubstr("process " + std::to_string(getpid())));
  EXPECT_THAT(error.message(), HasSubstr(this_process().host));
  EXPECT_THAT(error.hint(), HasSubstr("control/stop"));
  EXPECT_EQ(text(), before);
  EXPECT_EQ(files(), 1U);
}

TEST_F(Folder, TheLockOfAFinishedProcessIsTakenOver) {
  const pid_t child = fork();
  if (child == 0) {
    put(this_process());
    _exit(0);  // dies without removing it
  }
  waitpid(child, nullptr, 0);
  ASSERT_EQ(owner()->pid, child);
  testing::internal::CaptureStderr();
  const RunLock lock(path_);
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("took over the stale lock of process " + std::to_string(child)));
  EXPECT_EQ(owner()->pid, getpid());
  EXPECT_EQ(files(), 1U);
}

TEST_F(Folder, WhatAHolderLeftThatWasKilledInAHeartbeatGoes) {
  std::ofstream(path_ / "run.lock.othernode.99") << "{half";
  std::ofstream(path_ / "run.locked") << "not ours";
  const RunLock lock(path_);
  EXPECT_FALSE(std::filesystem::exists(path_ / "run.lock.othernode.99"));
  EXPECT_EQ(files(), 2U);
}

TEST_F(Folder, AReusedProcessNumberIsNoHolder) {
  LockOwner earlier = this_process();
  earlier.start -= 1;
  put(earlier);
  const RunLock lock(path_);
  EXPECT_EQ(owner()->start, process_start(getpid()));
}

TEST_F(Folder, AnotherHostCountsByItsHeartbeat) {
  put(elsewhere(30));
  const std::string before = text();
  const Error error = refusal();
  EXPECT_EQ(error.kind(), ErrorKind::environment);
  EXPECT_THAT(error.message(), HasSubstr("job 4711, process 99 on host othernode"));
  EXPECT_EQ(text(), before);

  put(elsewhere(61));
  const RunLock lock(path_);
  EXPECT_EQ(owner()->pid, getpid());
}

TEST_F(Folder, AnUnreadableLockCountsByItsAge) {
  put("{half");
  EXPECT_THAT(refusal().message(), HasSubstr("not yet said its name"));
  EXPECT_EQ(text(), "{half");
  std::filesystem::last_write_time(
      file_, std::filesystem::file_time_type::clock::now() - std::chrono::minutes(2));
  const RunLock lock(path_);
  EXPECT_EQ(owner()->pid, getpid());
}

TEST_F(Folder, ABeatRefreshesTheHeartbeatOnly) {
  RunLock lock(path_, std::chrono::hours(1));
  LockOwner old = *owner();
  const double before = old.heartbeat;
  old.heartbeat = 1;
  put(old);
  lock.beat();
  EXPECT_GE(owner()->heartbeat, before);
  EXPECT_EQ(owner()->pid, getpid());
  EXPECT_EQ(files(), 1U);
}

TEST_F(Folder, AHolderThatOversleptNoticesAndLeavesTheNewLock) {
  {
    RunLock lock(path_, std::chrono::hours(1));
    put(elsewhere(0));
    lock.beat();
    EXPECT_TRUE(lock.lost());
    EXPECT_EQ(owner()->host, "othernode");
  }
  EXPECT_EQ(owner()->host, "othernode");
}

TEST_F(Folder, AFolderThatDoesNotExistIsAStorageError) {
  std::filesystem::remove_all(path_);
  EXPECT_EQ(refusal().kind(), ErrorKind::storage);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

/// Starts `count` processes that all try to get the lock at once and hold it until told; returns
/// how many got it.
int race(const std::filesystem::path& path, int count) {
  std::array<int, 2> go{}, done{}, result{};
  if (pipe(go.data()) != 0 || pipe(done.data()) != 0 || pipe(result.data()) != 0) return -1;
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      close(go[1]);
      close(done[1]);
      char byte = 0;
      if (read(go[0], &byte, 1) != 0) _exit(1);  // the end of file starts all at once
      try {
        const RunLock lock(path);
        if (write(result[1], "1", 1) != 1 || read(done[0], &byte, 1) != 0) _exit(1);
      } catch (const Error& error) {
        const bool expected = error.kind() == ErrorKind::environment;
        if (write(result[1], expected ? "0" : "x", 1) != 1) _exit(1);
      }
      _exit(0);
    }
    children.push_back(child);
  }
  close(go[0]);
  close(done[0]);
  close(result[1]);
  close(go[1]);
  int winners = 0;
  for (int i = 0; i < count; ++i) {
    char outcome = 'x';
    EXPECT_EQ(read(result[0], &outcome, 1), 1);
    EXPECT_NE(outcome, 'x');
    winners += outcome == '1' ? 1 : 0;
  }
  close(done[1]);
  close(result[0]);
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  return winners;
}

TEST_F(Folder, OfProcessesThatRaceExactlyOneWins) {
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(race(path_, 4), 1);
    EXPECT_EQ(files(), 0U);
  }
}

TEST_F(Folder, OfProcessesThatFindAStaleLockExactlyOneWins) {
  for (int round = 0; round < 5; ++round) {
    put(elsewhere(1000));
    EXPECT_EQ(race(path_, 4), 1);
    EXPECT_EQ(files(), 0U);
  }
}

TEST(JudgeLock, Rules) {
  LockOwner self;
  self.job = "7";
  self.host = "here";
  self.pid_scope = "boot/ns";
  self.heartbeat = 1000;
  LockOwner owner = self;
  owner.pid = 5;
  owner.start = 42;
  EXPECT_TRUE(judge_lock(owner, self, 42).live);
  EXPECT_FALSE(judge_lock(owner, self, 43).live);
  EXPECT_FALSE(judge_lock(owner, self, 0).live);
  owner.start = 0;  // not known: the number alone decides
  EXPECT_TRUE(judge_lock(owner, self, 43).live);

  owner.heartbeat = 1;
  owner.pid_scope = "boot/container";  // the same host name, but its numbers mean nothing here
  EXPECT_FALSE(judge_lock(owner, self, 42).live);
  owner.heartbeat = 999;
  EXPECT_TRUE(judge_lock(owner, self, 0).live);

  owner.host = "there";
  owner.heartbeat = 2000;  // a clock that is ahead
  EXPECT_TRUE(judge_lock(owner, self, 0).live);
  self.restart = 1;  // the scheduler started this very job again, so the earlier start is over
  EXPECT_FALSE(judge_lock(owner, self, 0).live);
  owner.job = "8";
  EXPECT_TRUE(judge_lock(owner, self, 0).live);
}

TEST(ParseLock, TakesWhatIsThereAndRefusesTheRest) {
  const auto owner = parse_lock(R"({"host": "n1", "pid": 12})");
  ASSERT_TRUE(owner.has_value());
  EXPECT_EQ(owner->pid, 12);
  EXPECT_EQ(owner->heartbeat, 0);
  for (const char* text : {"", "[]", "{", R"({"pid": "twelve"})", "null"})
    EXPECT_FALSE(parse_lock(text)) << text;
  const LockOwner self = this_process();
  const auto again = parse_lock(lock_text(self));
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->start, self.start);
  EXPECT_EQ(again->pid_scope, self.pid_scope);
  EXPECT_DOUBLE_EQ(again->heartbeat, self.heartbeat);
}

TEST_F(Folder, IsSeenAsItsLockSays) {
  EXPECT_FALSE(see_lock(file_).there);
  put("");
  EXPECT_TRUE(see_lock(file_).there);
  EXPECT_FALSE(see_lock(file_).owner);
  EXPECT_FALSE(see_lock(file_).verdict.live);
  std::filesystem::remove(file_);
  {
    const RunLock lock(path_);
    const LockSeen seen = see_lock(file_);
    ASSERT_TRUE(seen.owner);
    EXPECT_EQ(seen.owner->pid, getpid());
    EXPECT_TRUE(seen.verdict.live);
  }
  put(elsewhere(1000));
  const LockSeen stale = see_lock(file_);
  EXPECT_TRUE(stale.there);
  EXPECT_FALSE(stale.verdict.live);
  EXPECT_FALSE(stale.verdict.why.empty());
}

TEST(ProcessStart, TellsRunningFromGone) {
  EXPECT_GT(process_start(getpid()), 0U);
  EXPECT_EQ(process_start(0), 0U);
  EXPECT_EQ(process_start(-1), 0U);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  siginfo_t info;
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // a zombie from here on
  EXPECT_EQ(process_start(child), 0U);
  waitpid(child, nullptr, 0);
  EXPECT_EQ(process_start(child), 0U);
}

}  // namespace
}  // namespace trireme::guard

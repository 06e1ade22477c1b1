#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>

#include "unit/checkpoint/state.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <csignal>
#include <mutex>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::FaultScope;
using test::TemporaryFolder;
using testing::HasSubstr;

/// Every rank's Error of a commit by thread ranks; they have to be the same.
Error agreed_error(int ranks, const fs::path& folder,
                   const std::function<void(Writer&, int)>& collect) {
  std::mutex guard;
  std::vector<Error> errors;
  test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
    Writer writer;
    collect(writer, all->rank());
    const Error error = test::error_of([&] {
      writer.commit(*all, {folder, 2, "run2", nlohmann::json::object()});
    });
    all->barrier()->wait();  // none waits for another any more
    const std::lock_guard lock(guard);
    errors.push_back(error);
  });
  for (const Error& error : errors) {
    EXPECT_EQ(error.kind(), errors[0].kind());
    EXPECT_STREQ(error.what(), errors[0].what());
  }
  return errors.at(0);
}

/// The folder holds step 1, valid, and nothing else.
void expect_only_the_old_one(const fs::path& folder) {
  EXPECT_EQ(test::files_in(folder), 1U);
  EXPECT_EQ(Store(folder).newest_valid(Store::Check::everything).step, 1);
}

TEST(Commit, AFailedWriteIsEveryRanksErrorAndLeavesNothing) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 3);
  for (const long step : {test::write_enospc, test::write_eio, test::fsync_eio, test::rename_eio}) {
    const FaultScope fault(step);
    const Error error = agreed_error(3, folder.path(),
                                     [](Writer& writer, int rank) { test::fill(writer, rank, 3); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    if (step == test::rename_eio) {
      EXPECT_THAT(error.message(), HasSubstr("step-00000002: rename: Input/output error"));
    } else {
      EXPECT_THAT(error.message(), HasSubstr("rank 0: "));
      EXPECT_THAT(error.message(), HasSubstr("shard-00000-of-00003.safetensors"));
    }
    EXPECT_FALSE(error.hint().empty());
    expect_only_the_old_one(folder.path());
  }
  test::write_state(folder.path(), 2, 3);
  EXPECT_EQ(Store(folder.path()).newest_valid().step, 2);
}

TEST(Commit, OneRanksFailureIsNamed) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 3);
  struct sigaction ignore {
  }, old_action{};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGXFSZ, &ignore, &old_action);
  rlimit old_limit{}, limit{};
  ::getrlimit(RLIMIT_FSIZE, &old_limit);
  limit = old_limit;
  limit.rlim_cur = 100'000;
  ::setrlimit(RLIMIT_FSIZE, &limit);
  const Error error = agreed_error(3, folder.path(), [](Writer& writer, int rank) {
    const int64_t begin = rank < 2 ? rank * 100 : 200, size = rank < 2 ? 100 : 100'000;
    writer.shard("x", {100'200}, {{begin}, {size}}, at::ones({size}));
  });
  ::setrlimit(RLIMIT_FSIZE, &old_limit);
  ::sigaction(SIGXFSZ, &old_action, nullptr);
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.message(), testing::StartsWith("rank 2: "));
  EXPECT_THAT(error.message(),
              HasSubstr("shard-00002-of-00003.safetensors: write: File too large"));
  expect_only_the_old_one(folder.path());
}

TEST(Commit, AFullDiskIsNamedAndTheOldCheckpointsStay) {
  const TemporaryFolder folder;
  const fs::path mounted = folder / "small";
  fs::create_directory(mounted);
  if (::mount("tmpfs", mounted.c_str(), "tmpfs", 0, "size=2m") != 0)
    GTEST_SKIP() << "namespaces refused";
  test::write_state(mounted, 1, 2);
  const Error error =
      agreed_error(2, mounted, [](Writer& writer, int rank) { test::fill(writer, rank, 2); });
  EXPECT_EQ(error.kind(), ErrorKind::storage);
  EXPECT_THAT(error.message(), HasSubstr("No space left on device"));
  EXPECT_THAT(error.message(),
              testing::ContainsRegex("[0-9]+ more bytes are needed, [0-9]+ are free"));
  expect_only_the_old_one(mounted);
  ::umount(mounted.c_str());
}

TEST(Commit, StateThatDiffersBetweenRanksIsRefused) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 3);
  const auto refused = [&](const std::string& reason,
                           const std::function<void(Writer&, int)>& add) {
    const Error error = agreed_error(3, folder.path(), add);
    EXPECT_EQ(error.kind(), ErrorKind::ranks_differ) << reason;
    EXPECT_THAT(error.message(), HasSubstr(reason));
    expect_only_the_old_one(folder.path());
  };
  const at::Tensor ones = at::ones({2});
  refused("rank 2: checkpoint: scalar 's': 2 here, 0 on rank 0",
          [](Writer& w, int rank) { w.scalar("s", int64_t{rank == 2 ? 2 : 0}); });
  refused("scalar 's': 0 here, 0.0 on rank 0", [](Writer& w, int rank) {
    w.scalar("s", rank == 0 ? core::Scalar(0.0) : core::Scalar(int64_t{0}));
  });
  refused("rank 1: checkpoint: scalar 't': not on this rank", [](Writer& w, int rank) {
    w.scalar("s", true);
    if (rank != 1) w.scalar("t", true);
  });
  refused("tensor 'x': not on rank 0", [&](Writer& w, int rank) {
    if (rank != 0) w.replicated("x", ones);
  });
  refused("tensor 'x': {\"dtype\":\"F32\",\"shape\":[3]} here",
          [&](Writer& w, int rank) { w.replicated("x", rank == 1 ? at::ones({3}) : ones); });
  refused("tensor 'x': 2 of 6 elements are in no box", [&](Writer& w, int rank) {
    if (rank != 1) w.shard("x", {6}, {{2 * rank}, {2}}, ones);
  });
  refused("tensor 'x': the boxes [0:2] and [1:2] overlap", [&](Writer& w, int rank) {
    w.shard("x", {6}, {{rank}, {2}}, ones);
  });
  refused("tensor 'x' has another type or shape on rank 1", [&](Writer& w, int rank) {
    w.shard("x", {6 + rank}, {{2 * rank}, {2}}, ones);
  });
  refused("tensor 'x' has another type or shape on rank 1", [&](Writer& w, int rank) {
    w.shard("x", {6}, {{2 * rank}, {2}}, rank == 1 ? ones.to(at::kHalf) : ones);
  });
}

TEST(Commit, TheOrderOfCollectionDoesNotMatter) {
  const TemporaryFolder folder;
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
    Writer writer;
    std::vector<std::string> names{"a", "b", "c"};
    if (all->rank() == 1) std::reverse(names.begin(), names.end());
    for (const std::string& name : names) writer.replicated(name, at::ones({400, 1000}));
    writer.commit(*all, {folder.path(), 1, "r", {}});
  });
  Reader(folder / "step-00000001").verify();
}

TEST(Commit, TheSameStepAgainReplacesWhatIsThere) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 5, 3, /*salt=*/1);
  test::write_state(folder.path(), 5, 2, /*salt=*/2, "run2");
  EXPECT_EQ(test::files_in(folder.path()), 1U);
  const Reader reader(folder / "step-00000005");
  test::expect_state(reader, 1, /*salt=*/2);
  EXPECT_EQ(reader.manifest().run_id, "run2");
}

TEST(Commit, WhatWasReplacedAndCannotBeDeletedIsTold) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 5, 1, /*salt=*/1);
  testing::internal::CaptureStderr();
  {
    const FaultScope fault(test::unlink_eio);
    test::write_state(folder.path(), 5, 1, /*salt=*/2);
  }
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr((folder / "step-00000005.tmp-run1").native() + " stays until"));
  test::expect_state(Reader(folder / "step-00000005"), 1, /*salt=*/2);
}

TEST(Commit, WhatAnInterruptedAttemptLeftIsNoObstacle) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "checkpoints" / "step-00000005.tmp-run1");
  test::put(folder / "checkpoints" / "step-00000005.tmp-run1" / "shard-00000-of-00002.safetensors",
            "torn");
  test::write_state(folder / "checkpoints", 5, 2);
  Reader(folder / "checkpoints" / "step-00000005").verify();
  EXPECT_EQ(test::files_in(folder / "checkpoints"), 1U);
}

TEST(Commit, ARankThatIsLostLeavesNoHalfCheckpoint) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 2);
  const auto all = comm::make_thread_communicators(2);
  std::thread lost([&] { all[0]->poison(Error(ErrorKind::peer_lost, "rank 1 is lost")); });
  Writer writer;
  test::fill(writer, 0, 2);
  const Error error = test::error_of([&] { writer.commit(*all[0], {folder.path(), 2, "r", {}}); });
  lost.join();
  EXPECT_EQ(error.kind(), ErrorKind::peer_lost);
  expect_only_the_old_one(folder.path());
}

}  // namespace
}  // namespace trireme::checkpoint

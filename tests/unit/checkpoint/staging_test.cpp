#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/saver.h>
#include <trireme/checkpoint/staging_folder.h>
#include <trireme/checkpoint/store.h>
#include <trireme/comm/local.h>

#include "checkpoint/save.h"
#include "unit/checkpoint/disk_gate.h"
#include "unit/checkpoint/state.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <atomic>
#include <fstream>
#include <mutex>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::TemporaryFolder;
using testing::HasSubstr;

Collected state_of(int64_t rank, int64_t ranks, int64_t salt = 0) {
  Writer writer;
  test::fill(writer, rank, ranks, salt);
  return writer.collected();
}

bool all(const std::string&) {
  return true;
}

/// A fast disk beside a folder of checkpoints.
class Staging : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directory(fast_);
    fs::create_directory(checkpoints_);
  }
  [[nodiscard]] Target target(int64_t step) const {
    return {checkpoints_, step, "run1", nlohmann::json::object(), /*read_back=*/step % 2 == 0};
  }
  [[nodiscard]] size_t checkpoints() const { return test::files_in(checkpoints_); }

  const TemporaryFolder folder_;
  const fs::path fast_ = folder_ / "fast", checkpoints_ = folder_ / "checkpoints";
};

/// The stages of a save of one rank, one by one.
class StagesOfASave : public Staging {
 protected:
  void SetUp() override {
    Staging::SetUp();
    test::write_state(checkpoints_, 1, 1);
  }
  void copy_and_stage() {
    save_.emplace(state_of(0, 1), *comm_, target(2), fast_);
    save_->copy(buffer_, all);
    save_->stage(never_);
  }
  /// The Error, when the older checkpoint is all there is.
  Error failure() {
    save_->write(never_);
    save_->hand_over();
    EXPECT_FALSE(save_->complete());
    const Error error = test::error_of([&] { (void)save_->conclude(); });
    save_.reset();
    EXPECT_EQ(test::files_in(fast_), 0U);
    EXPECT_EQ(checkpoints(), 1U);
    EXPECT_EQ(Store(checkpoints_).newest_valid(Store::Check::everything).step, 1);
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_FALSE(error.hint().empty());
    return error;
  }

  const comm::CommunicatorPtr comm_ = comm::make_local_communicator();
  const std::atomic<bool> never_ = false;
  const fs::path staged_ = fast_ / "step-00000002.staged";
  HostBuffer buffer_;
  std::optional<Save> save_;
};

TEST_F(StagesOfASave, TheFileIsWholeInTheStagingFolderBeforeItIsCopied) {
  copy_and_stage();
  const fs::path unfinished = checkpoints_ / "step-00000002.tmp-run1";
  EXPECT_EQ(test::files_in(unfinished), 0U);
  const std::string staged = test::contents_of(staged_);
  save_->write(never_);
  EXPECT_EQ(test::contents_of(unfinished / "shard-00000-of-00001.safetensors"), staged);
  EXPECT_FALSE(fs::exists(staged_));
  save_->hand_over();
  EXPECT_TRUE(save_->complete());
  test::expect_state(Reader(save_->conclude().path), 1);
}

TEST_F(StagesOfASave, TheHostMemoryIsFreeOnceItIsStaged) {
  copy_and_stage();
  std::memset(buffer_.reserve(1), 0, 1'000'000);  // as the next save does
  save_->write(never_);
  save_->hand_over();
  (void)save_->complete();
  test::expect_state(Reader(save_->conclude().path), 1);
}

TEST_F(StagesOfASave, AByteThatChangesInTheStagingFolderIsNoticed) {
  copy_and_stage();
  std::string bytes = test::contents_of(staged_);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  test::put(staged_, bytes);
  const Error error = failure();
  EXPECT_THAT(error.message(), HasSubstr(staged_.native() + ": what comes back from the disk"));
  EXPECT_THAT(error.hint(), HasSubstr("checkpoint.staging_dir"));
}

TEST_F(StagesOfASave, AFullStagingDiskIsNamed) {
  {
    const test::FaultScope fault(test::write_enospc);
    copy_and_stage();
  }
  const Error error = failure();
  EXPECT_THAT(error.message(), HasSubstr(staged_.native() + ": write: No space left on device"));
}

TEST_F(StagesOfASave, AStagingDiskThatCannotBeReadIsNamed) {
  copy_and_stage();
  const test::FaultScope fault(test::read_eio);
  save_->write(never_);
  core::fault::set_step(-1);
  EXPECT_THAT(failure().message(), HasSubstr(staged_.native() + ": read: Input/output error"));
}

TEST_F(StagesOfASave, AStagedFileThatSomebodyRemovedIsNamed) {
  copy_and_stage();
  fs::remove(staged_);
  const Error error = failure();
  EXPECT_THAT(error.message(), HasSubstr(staged_.native()));
  EXPECT_THAT(error.hint(), HasSubstr("tidy up"));
}

TEST_F(StagesOfASave, AFullSlowDiskIsToldAsWithoutStaging) {
  copy_and_stage();
  {
    const test::FaultScope fault(test::write_enospc);
    save_->write(never_);
  }
  EXPECT_THAT(failure().message(), HasSubstr("shard-00000-of-00001.safetensors: write: No space"));
}

TEST_F(StagesOfASave, ALeftOverOfTheSameStepIsNoObstacle) {
  test::put(staged_, "torn");
  copy_and_stage();
  save_->write(never_);
  save_->hand_over();
  EXPECT_TRUE(save_->complete());
  test::expect_state(Reader(save_->conclude().path), 1);
}

/// Bytes of memory that this process holds.
int64_t resident_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

TEST_F(Staging, TheNextSaveNeedNotWaitForTheSlowDiskNorMoreMemory) {
  constexpr int64_t elements = 16 << 20;  // 64 MiB
  const auto comm = comm::make_local_communicator();
  Saver saver(comm, {.staging = fast_});
  at::Tensor values = at::empty({elements});
  const auto begin = [&](int64_t step) {
    values.fill_(static_cast<double>(step));
    Writer writer;
    writer.replicated("model/w", values);
    saver.begin(writer.collected(), target(step));
    saver.wait_copied();
  };
  {
    const test::DiskGate slow(checkpoints_);
    begin(1);
    ASSERT_TRUE(saver.has_room());
    const int64_t before = resident_bytes();
    begin(2);
    EXPECT_LT(resident_bytes() - before, elements) << "a quarter of another copy";
    EXPECT_FALSE(saver.has_room());
    EXPECT_TRUE(saver.working());
    EXPECT_EQ(checkpoints(), 2U) << "both unfinished";
    values.zero_();
  }
  for (const int64_t step : {1, 2}) {
    const auto result = saver.finish();
    ASSERT_TRUE(result && !result->error);
    EXPECT_EQ(result->step, step);
    EXPECT_EQ(saver.under_way(), step == 1);
    const at::Tensor read = at::empty({elements});
    Reader(result->committed.path).read_whole("model/w", read);
    EXPECT_TRUE(at::equal(read, at::full({elements}, static_cast<double>(step))));
  }
  EXPECT_FALSE(saver.finish());
  EXPECT_TRUE(saver.has_room());
  EXPECT_EQ(test::files_in(fast_), 0U);
}

TEST_F(Staging, WithoutItOneSaveIsUnderWayAtATime) {
  Saver saver(comm::make_local_communicator(), {});
  EXPECT_TRUE(saver.has_room());
  saver.begin(state_of(0, 1), target(1));
  EXPECT_FALSE(saver.has_room());
  EXPECT_TRUE(saver.finish().has_value());
  EXPECT_TRUE(saver.has_room());
}

TEST_F(Staging, SavesOfSeveralRanksEndInTheirOrder) {
  for (const int ranks : {2, 3}) {
    test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& comm) {
      const StagingFolder staging(fast_, checkpoints_, *comm);
      Saver saver(comm, {.staging = staging.path()});
      int64_t ended = 10 * ranks;
      for (int64_t step = 10 * ranks + 1; step <= 10 * ranks + 5; ++step) {
        while (!saver.has_room()) {
          const auto result = saver.finish();
          ASSERT_TRUE(result && !result->error);
          EXPECT_EQ(result->step, ++ended);
        }
        saver.begin(state_of(comm->rank(), ranks, step), target(step));
        saver.wait_copied();
      }
      while (const auto result = saver.finish()) EXPECT_EQ(result->step, ++ended);
      EXPECT_EQ(ended, 10 * ranks + 5);
      EXPECT_EQ(test::files_in(staging.path()), 0U);
    });
    EXPECT_EQ(test::files_in(fast_), 0U);
    for (int64_t step = 10 * ranks + 1; step <= 10 * ranks + 5; ++step)
      test::expect_state(Reader(Store(checkpoints_).path_of(step)), ranks, step);
  }
}

TEST_F(Staging, OneFailureDoesNotTouchTheSaveBeforeOrAfter) {
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& comm) {
    const StagingFolder staging(fast_, checkpoints_, *comm);
    Saver saver(comm, {.staging = staging.path()});
    saver.begin(state_of(comm->rank(), 2, 1), target(1));
    {
      const auto first = saver.finish();
      ASSERT_TRUE(first && !first->error);
    }
    comm->barrier()->wait();
    {
      const test::FaultScope fault(test::write_enospc);
      saver.begin(state_of(comm->rank(), 2, 2), target(2));
      const auto second = saver.finish();
      ASSERT_TRUE(second && second->error);
      EXPECT_THAT(second->error->message(), HasSubstr(fast_.native()));
      comm->barrier()->wait();
    }
    comm->barrier()->wait();
    saver.begin(state_of(comm->rank(), 2, 3), target(3));
    const auto third = saver.finish();
    ASSERT_TRUE(third && !third->error);
  });
  EXPECT_THAT(Store(checkpoints_).steps(), testing::ElementsAre(1, 3));
  EXPECT_EQ(test::files_in(fast_), 0U);
}

TEST_F(Staging, EndingInTheMiddleLeavesNothingThere) {
  const auto comm = comm::make_local_communicator();
  {
    const StagingFolder staging(fast_, checkpoints_, *comm);
    Saver saver(comm, {.staging = staging.path()});
    for (const int64_t step : {1, 2}) saver.begin(state_of(0, 1), target(step));
  }
  EXPECT_EQ(test::files_in(fast_), 0U);
  EXPECT_TRUE(Store(checkpoints_).steps().empty());
}

TEST_F(Staging, EveryRankAndRunHasAFolderOfItsOwn) {
  const fs::path other = folder_ / "other";
  fs::create_directory(other);
  std::mutex mutex;
  std::set<fs::path> paths;
  test::spawn_ranks(3, [&](const comm::CommunicatorPtr& comm) {
    const StagingFolder mine(fast_, checkpoints_, *comm), others(fast_, other, *comm);
    for (const StagingFolder* one : {&mine, &others}) {
      EXPECT_TRUE(fs::is_directory(one->path()));
      const std::lock_guard lock(mutex);
      paths.insert(one->path());
    }
    comm->barrier()->wait();
  });
  EXPECT_EQ(paths.size(), 6U);
  EXPECT_EQ(test::files_in(fast_), 0U);
}

TEST_F(Staging, WhatAKilledStartLeftGoesAtTheNextWhateverItsRanks) {
  const auto comm = comm::make_local_communicator();
  fs::path of_run;
  {
    const StagingFolder first(fast_, checkpoints_, *comm);
    of_run = first.path().parent_path();
  }
  EXPECT_FALSE(fs::exists(of_run));
  fs::create_directories(of_run / "rank-00007");
  test::put(of_run / "rank-00007" / "step-00000003.staged", "torn");
  fs::create_directory(fast_ / "somebody-else");
  {
    const StagingFolder second(fast_, checkpoints_, *comm);
    EXPECT_EQ(second.path(), of_run / "rank-00000") << "the same run, so the same folder";
    EXPECT_EQ(test::files_in(of_run), 1U);
  }
  EXPECT_EQ(test::files_in(fast_), 1U);
}

TEST_F(Staging, AFolderThatIsNotThereIsEveryRanksError) {
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& comm) {
    const Error error =
        test::error_of([&] { const StagingFolder none(folder_ / "none", checkpoints_, *comm); });
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), HasSubstr("rank 0: " + (folder_ / "none").native()));
    EXPECT_THAT(error.hint(), HasSubstr("checkpoint.staging_dir has to exist"));
  });
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

}  // namespace
}  // namespace trireme::checkpoint

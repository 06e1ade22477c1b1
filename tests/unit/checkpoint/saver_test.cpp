#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/saver.h>
#include <trireme/checkpoint/store.h>

#include "unit/checkpoint/state.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <atomic>
#include <map>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::FaultScope;
using test::TemporaryFolder;

Collected state_of(int64_t rank, int64_t ranks, int64_t salt = 0) {
  Writer writer;
  test::fill(writer, rank, ranks, salt);
  return writer.collected();
}

Target target(const fs::path& folder, int64_t step) {
  return {folder, step, "run1", nlohmann::json::object(), /*read_back=*/step % 2 == 0};
}

bool is_buffer(const std::string& name) {
  return name.starts_with("buffer/");
}

/// As the trainer does: the ranks meet when none works any more.
Saver::Result advance_to_the_end(Saver& saver, comm::Communicator& all) {
  for (;;) {
    const at::Tensor working = at::full({}, saver.working() ? 1.0 : 0.0, at::kFloat);
    all.all_reduce(working)->wait();
    if (working.item<float>() != 0) continue;
    if (auto result = saver.advance()) return *result;
  }
}

TEST(Saver, SavesWhatWasThereWhenItBegan) {
  for (const int ranks : {1, 2, 3}) {
    const TemporaryFolder folder;
    test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
      telemetry::Recorder recorder;
      Saver saver(all, {.copied_at_once = is_buffer, .recorder = &recorder});
      EXPECT_FALSE(saver.under_way());
      saver.wait_copied();
      for (const int64_t step : {1, 2}) {
        Collected state = state_of(all->rank(), ranks, step);
        std::vector<at::Tensor> tensors, buffers;
        for (const auto& [name, values] : state.replicated)
          (is_buffer(name) ? buffers : tensors).push_back(values);
        for (const auto& shard : state.shards) tensors.push_back(shard.values);
        saver.begin(std::move(state), target(folder.path(), step));
        for (const at::Tensor& buffer : buffers) buffer.zero_();  // at once
        EXPECT_TRUE(saver.under_way());
        saver.wait_copied();
        for (const at::Tensor& values : tensors) values.zero_();
        const Saver::Result result = advance_to_the_end(saver, *all);
        EXPECT_FALSE(result.error);
        EXPECT_EQ(result.step, step);
        EXPECT_EQ(result.committed.path, Store(folder.path()).path_of(step));
        EXPECT_FALSE(saver.under_way());
      }
      const auto spans = recorder.spans().drain();
      std::map<std::string, int> calls;
      const std::vector<std::string> names = recorder.spans().thread_names();
      for (const auto& span : spans) {
        ++calls[span.name];
        EXPECT_EQ(names.at(static_cast<size_t>(span.thread)), "checkpoint");
      }
      EXPECT_EQ(calls["save"], 2);
      EXPECT_EQ(calls["commit"], all->rank() == 0 ? 2 : 0);
    });
    for (const int64_t step : {1, 2})
      test::expect_state(Reader(Store(folder.path()).path_of(step)), ranks, step);
    EXPECT_EQ(test::files_in(folder.path()), 2U);
  }
}

TEST(Saver, FinishWaitsAndTheHookRunsOnceOnRank0) {
  const TemporaryFolder folder;
  std::atomic<int> calls = 0;
  test::spawn_ranks(3, [&](const comm::CommunicatorPtr& all) {
    Saver saver(all, {});
    EXPECT_FALSE(saver.finish());
    saver.begin(
        state_of(all->rank(), 3), target(folder.path(), 7), [&](const Committed& committed) {
          EXPECT_EQ(all->rank(), 0);
          EXPECT_TRUE(fs::exists(committed.path / manifest_name)) << "it is complete by then";
          ++calls;
        });
    const auto result = saver.finish();
    ASSERT_TRUE(result);
    EXPECT_FALSE(result->error);
    EXPECT_GT(result->committed.bytes, 1000000);
    EXPECT_FALSE(saver.finish());
  });
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(Store(folder.path()).newest_valid(Store::Check::everything).step, 7);
}

TEST(Saver, AFailureIsToldOnAllRanksAndTheNextSaveWorks) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 2);
  for (const long fault : {test::write_enospc, test::fsync_eio, test::rename_eio}) {
    test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
      Saver saver(all, {});
      {
        const FaultScope scope(fault);
        saver.begin(state_of(all->rank(), 2), target(folder.path(), 2),
                    [](const Committed&) { ADD_FAILURE() << "nothing was committed"; });
        const auto result = saver.finish();
        all->barrier()->wait();
        ASSERT_TRUE(result && result->error);
        EXPECT_EQ(result->error->kind(), ErrorKind::storage);
      }
    });
    EXPECT_EQ(test::files_in(folder.path()), 1U);
    EXPECT_EQ(Store(folder.path()).newest_valid(Store::Check::everything).step, 1);
  }
}

TEST(Saver, EndsWhileItWorksAndLeavesNoCheckpoint) {
  const TemporaryFolder folder;
  test::write_state(folder.path(), 1, 2);
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
    {
      Saver saver(all, {});
      saver.begin(state_of(all->rank(), 2), target(folder.path(), 2));
    }
    all->barrier()->wait();
  });
  EXPECT_EQ(Store(folder.path()).newest_valid(Store::Check::everything).step, 1);
  (void)Store(folder.path()).remove_stale();
  EXPECT_EQ(test::files_in(folder.path()), 1U);
}

TEST(Saver, CannotBeginWhereNoFolderCanBeMade) {
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
    Saver saver(all, {});
    EXPECT_EQ(test::error_of([&] {
                saver.begin(state_of(all->rank(), 2), target("/proc/none", 1));
              }).kind(),
              ErrorKind::storage);
    EXPECT_FALSE(saver.under_way());
  });
}

}  // namespace
}  // namespace trireme::checkpoint

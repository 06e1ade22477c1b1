#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/checkpoint/writer.h>
#include <trireme/storage/durable.h>

#include "support/spawn_ranks.h"
#include "unit/checkpoint/recorded_disk.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"

#include <algorithm>
#include <functional>
#include <set>

#include <ATen/ATen.h>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::Disk;
using test::DiskRecord;
using test::DiskRecorder;

constexpr int random_states = 1000;  // of each moment

/// A state of some hundred bytes by two ranks. Returns its hash.
std::string save(const fs::path& folder, int64_t step, int64_t salt) {
  test::spawn_ranks(2, [&](const comm::CommunicatorPtr& all) {
    Writer writer;
    writer.scalar("salt", salt);
    writer.replicated("model/w", at::arange(6) + salt);
    writer.replicated("model/b", at::full({3}, static_cast<double>(salt)));
    const int64_t begin = 5 * all->rank();
    writer.shard("optim/m", {10}, {{begin}, {5}}, at::arange(begin, begin + 5) * salt);
    (void)writer.commit(*all, {folder, step, "r" + std::to_string(salt), {}});
  });
  return state_hash(Reader(Store(folder).path_of(step))).hex();
}

std::string describe(const DiskRecord& recorded, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const test::DiskChange& change = recorded.changes[i];
    const bool write = change.kind == test::DiskChange::Kind::write;
    if (change.names.empty()) text += fmt::format("{} {}", write ? "write" : "sync", change.node);
    for (const auto& name : change.names)
      text += fmt::format(" {}/{}={}", name.folder, name.name,
                          name.node ? std::to_string(*name.node) : "gone");
    text += "\n";
  }
  return text;
}

/// What may be found in the folder `checkpoints` from the given number of changes on: step and hash
/// of the newest valid checkpoint.
struct Allowed {
  size_t from = 0;
  std::set<std::pair<int64_t, std::string>> newest;
  bool none = false;
};

class PowerCut : public testing::Test {
 protected:
  /// All that `work` may leave at any moment is judged by `allowed`, which is ascending and told
  /// after the work. `restart`: what the next start of a run does comes before the judgement.
  void cut(const std::function<std::vector<Allowed>(const DiskRecord&)>& work,
           bool restart = false) {
    std::vector<Allowed> allowed;
    const DiskRecord record = recorded(work, allowed);
    ASSERT_EQ(record.now.text(), Disk::read(folder_ / "run").text())
        << "something was done past the recorder";
    for (size_t count = 0; count <= record.changes.size(); ++count) {
      const Allowed& now = *std::find_if(allowed.rbegin(), allowed.rend(),
                                         [&](const Allowed& one) { return one.from <= count; });
      for (const Disk& left : states_after(record, count, now.from)) {
        judge(left, now, restart);
        if (HasFatalFailure()) FAIL() << "after:\n" << describe(record, count);
      }
    }
  }

  DiskRecord recorded(const std::function<std::vector<Allowed>(const DiskRecord&)>& work,
                      std::vector<Allowed>& allowed) const {
    const DiskRecorder recorder(folder_ / "run");
    allowed = work(recorder.record());
    return recorder.record();
  }

  /// What a cut after `count` changes may leave, less what was seen before in the same `phase`.
  std::vector<Disk> states_after(const DiskRecord& record, size_t count, size_t phase) {
    std::vector<Disk> states;
    for (int trial = 0; trial < 4 + random_states; ++trial) {
      const auto keep = [&](int extreme) {
        return trial < 4 ? extreme : std::uniform_real_distribution<>(0.1, 0.9)(random_);
      };
      const double names = keep(trial % 2), bytes = keep(trial / 2);
      Disk left = test::after_power_cut(record, count, names, bytes, random_);
      if (seen_.insert(left.text() + std::to_string(phase)).second)
        states.push_back(std::move(left));
    }
    return states;
  }

  void judge(const Disk& left, const Allowed& allowed, bool restart) {
    const fs::path path = folder_ / "cut";
    left.make_real(path);
    const Store store(path / "checkpoints");
    if (restart) (void)store.remove_stale();
    expect_allowed(store, allowed);
    (void)store.remove_stale();
    expect_allowed(store, allowed);
    for (const auto& name : fs::exists(store.folder()) ? Disk::read(store.folder()).nodes[0].names
                                                       : std::map<std::string, size_t>{})
      ASSERT_EQ(name.first.find(".tmp-"), std::string::npos);
    fs::remove_all(path);
  }

  static void expect_allowed(const Store& store, const Allowed& allowed) {
    const Store::Newest newest = store.newest_valid(Store::Check::everything);
    if (!newest.step) {
      ASSERT_TRUE(allowed.none) << "no checkpoint; skipped: "
                                << testing::PrintToString(newest.skipped);
      return;
    }
    const auto hash = state_hash(Reader(store.path_of(*newest.step))).hex();
    ASSERT_TRUE(allowed.newest.contains({*newest.step, hash})) << "step " << *newest.step;
  }

  void SetUp() override { fs::create_directory(folder_ / "run"); }

  test::TemporaryFolder folder_{test::memory_folder()};
  const fs::path checkpoints_ = folder_ / "run" / "checkpoints";
  std::mt19937_64 random_{7};
  std::set<std::string> seen_;
};

TEST_F(PowerCut, TheFirstCheckpointIsThereOnceItIsSaved) {
  cut([&](const DiskRecord& record) {
    const std::string hash = save(checkpoints_, 1, 1);
    return std::vector<Allowed>{{.from = 0, .newest = {{1, hash}}, .none = true},
                                {.from = record.changes.size(), .newest = {{1, hash}}}};
  });
  EXPECT_GT(seen_.size(), 200U);
}

TEST_F(PowerCut, SavingAndDeletingOldOnesKeepsTheOldOrTheNew) {
  storage::make_directories(checkpoints_);
  std::string before = save(checkpoints_, 1, 1);
  cut([&](const DiskRecord& record) {
    std::vector<Allowed> allowed;
    for (const int64_t step : {2, 3, 4}) {
      Allowed both{.from = record.changes.size(), .newest = {{step - 1, before}}};
      before = save(checkpoints_, step, step);
      both.newest.insert({step, before});
      allowed.push_back(both);
      allowed.push_back({.from = record.changes.size(), .newest = {{step, before}}});
      EXPECT_TRUE(Store(checkpoints_).prune(step, {}).empty());
    }
    return allowed;
  });
  EXPECT_GT(seen_.size(), 1000U);
}

TEST_F(PowerCut, ReplacingOneKeepsTheOldOrTheNew) {
  const std::string old = save(checkpoints_, 1, 1);
  cut([&](const DiskRecord& record) {
    const std::string hash = save(checkpoints_, 1, 2);
    return std::vector<Allowed>{{.from = 0, .newest = {{1, old}, {1, hash}}},
                                {.from = record.changes.size(), .newest = {{1, hash}}}};
  });
}

TEST_F(PowerCut, WhereNamesCannotBeExchangedTheNextStartFindsTheOldOrTheNew) {
  const std::string old = save(checkpoints_, 1, 1);
  cut(
      [&](const DiskRecord& record) {
        const test::FaultScope fault(test::no_exchange);
        const std::string hash = save(checkpoints_, 1, 2);
        return std::vector<Allowed>{{.from = 0, .newest = {{1, old}, {1, hash}}},
                                    {.from = record.changes.size(), .newest = {{1, hash}}}};
      },
      /*restart=*/true);
}

TEST_F(PowerCut, ALeftOverOfADeadAttemptChangesNothing) {
  const std::string old = save(checkpoints_, 1, 1);
  fs::create_directory(checkpoints_ / "step-00000002.tmp-r2");
  test::put(checkpoints_ / "step-00000002.tmp-r2" / "shard-00000-of-00002.safetensors", "torn");
  cut([&](const DiskRecord& record) {
    const std::string hash = save(checkpoints_, 2, 2);
    return std::vector<Allowed>{{.from = 0, .newest = {{1, old}, {2, hash}}},
                                {.from = record.changes.size(), .newest = {{2, hash}}}};
  });
}

TEST_F(PowerCut, SettingOnesAsideLosesNone) {
  const std::string first = save(checkpoints_, 1, 1), second = save(checkpoints_, 2, 2);
  cut([&](const DiskRecord& record) {
    EXPECT_FALSE(Store(checkpoints_).set_aside(1).empty());
    return std::vector<Allowed>{{.from = 0, .newest = {{1, first}, {2, second}}},
                                {.from = record.changes.size(), .newest = {{1, first}}}};
  });
}

TEST_F(PowerCut, WouldBeNoticedWithoutSyncs) {
  std::vector<Allowed> allowed;
  const auto work = [&](const DiskRecord&) {
    save(checkpoints_, 1, 1);
    return std::vector<Allowed>();
  };
  DiskRecord record = recorded(work, allowed);
  std::erase_if(record.changes, [](const test::DiskChange& change) {
    return change.kind == test::DiskChange::Kind::sync;
  });
  int none = 0, skipped = 0;
  for (const Disk& left : states_after(record, record.changes.size(), 0)) {
    left.make_real(folder_ / "cut");
    const Store::Newest newest =
        Store(folder_ / "cut" / "checkpoints").newest_valid(Store::Check::everything);
    none += newest.step ? 0 : 1;
    skipped += newest.skipped.empty() ? 0 : 1;
    fs::remove_all(folder_ / "cut");
  }
  EXPECT_GT(none, 100);
  EXPECT_GT(skipped, 50);  // a name without all of its contents
}

}  // namespace
}  // namespace trireme::checkpoint

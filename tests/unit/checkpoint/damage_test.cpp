#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/random.h>
#include <trireme/storage/safetensors.h>

#include "unit/checkpoint/state.h"
#include "unit/storage/faults.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <filesystem>
#include <functional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using testing::HasSubstr;

/// A checkpoint of two ranks (step 2) beside an older good one (step 1).
class Damage : public testing::Test {
 protected:
  void SetUp() override {
    test::write_state(folder_.path(), 1, 1);
    path_ = test::write_state(folder_.path(), 2, 2).path;
  }

  [[nodiscard]] fs::path shard(int rank) const {
    return path_ / ("shard-0000" + std::to_string(rank) + "-of-00002.safetensors");
  }

  static void read_all(const Reader& reader) {
    for (const auto& [name, tensor] : reader.manifest().tensors)
      reader.read_whole(name, at::empty(tensor.shape, tensor.dtype));
  }

  /// Reading and verifying fail, name the file (and the tensor), and the store falls back.
  void expect_damaged(const fs::path& file, const std::string& what) {
    const Reader reader(path_);
    for (const Error& error :
         {error_of([&] { read_all(reader); }), error_of([&] { Reader(path_).verify(); })}) {
      ASSERT_EQ(error.kind(), ErrorKind::data_damaged);
      ASSERT_THAT(error.message(), HasSubstr(file.native()));
      ASSERT_THAT(error.message(), HasSubstr(what));
      ASSERT_THAT(error.hint(), HasSubstr("older checkpoint"));
    }
    const Store::Newest newest = Store(folder_.path()).newest_valid(Store::Check::everything);
    ASSERT_EQ(newest.step, 1);
    ASSERT_EQ(newest.skipped.size(), 1U);
    ASSERT_THAT(newest.skipped[0], HasSubstr(file.native()));
  }

  test::TemporaryFolder folder_;
  fs::path path_;
};

TEST_F(Damage, NoneIsNone) {
  read_all(Reader(path_));
  Reader(path_).verify();
  EXPECT_EQ(Store(folder_.path()).newest_valid(Store::Check::everything).step, 2);
}

TEST_F(Damage, EveryFlippedByteOfAHeaderIsNoticed) {
  const std::string good = test::contents_of(shard(0));
  const auto header = static_cast<size_t>(storage::SafetensorsFile(shard(0)).header_bytes());
  for (size_t i = 0; i < header; ++i) {
    std::fstream file(shard(0), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(i));
    file.put(static_cast<char>(good[i] ^ (1 << i % 8)));
    file.close();
    const Reader reader(path_);
    const Error error = error_of([&] { read_all(reader); });
    ASSERT_EQ(error.kind(), ErrorKind::data_damaged) << i;
    ASSERT_THAT(error.message(), HasSubstr(shard(0).native()));
    std::fstream repair(shard(0), std::ios::in | std::ios::out | std::ios::binary);
    repair.seekp(static_cast<std::streamoff>(i));
    repair.put(good[i]);
  }
  read_all(Reader(path_));
}

TEST_F(Damage, FlippedBitsInDataNameTheTensor) {
  const core::RandomKey random(3);
  for (uint64_t trial = 0; trial < 300; ++trial) {
    const fs::path file = shard(static_cast<int>(trial % 2));
    std::string tensor;
    std::streamoff place = 0;
    {
      const storage::SafetensorsFile shard(file);
      const auto& entry = shard.entries()[random.below(shard.entries().size(), 4 * trial)];
      const auto bytes = static_cast<uint64_t>(entry.end - entry.begin);
      place = static_cast<std::streamoff>(shard.header_bytes()) + entry.begin +
              static_cast<std::streamoff>(random.below(bytes, 4 * trial + 1));
      tensor = entry.name.substr(0, entry.name.find('['));
    }
    const auto flip = [&] {
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(place);
      const int byte = stream.get();
      stream.seekp(place);
      stream.put(static_cast<char>(byte ^ (1 << random.below(8, 4 * trial + 2))));
    };
    flip();
    if (trial < 20) {
      expect_damaged(file, "tensor '" + tensor + "'");
    } else {
      const Reader reader(path_);
      const Error error = error_of([&] {
        reader.read_whole(tensor, at::empty(reader.shape(tensor), reader.dtype(tensor)));
      });
      ASSERT_EQ(error.kind(), ErrorKind::data_damaged);
      ASSERT_THAT(error.message(), HasSubstr(file.native() + ": tensor '" + tensor + "'"));
    }
    flip();
    if (HasFatalFailure()) return;
  }
  read_all(Reader(path_));
}

TEST_F(Damage, OtherTensorsStayReadable) {
  std::string bytes = test::contents_of(shard(1));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  test::put(shard(1), bytes);
  const Reader reader(path_);
  int damaged = 0;
  for (const auto& [name, tensor] : reader.manifest().tensors) {
    try {
      reader.read_whole(name, at::empty(tensor.shape, tensor.dtype));
    } catch (const Error&) {
      ++damaged;
    }
  }
  EXPECT_EQ(damaged, 1);
}

TEST_F(Damage, TruncatedAndExtendedShards) {
  const std::string good = test::contents_of(shard(1));
  for (const size_t size :
       {size_t{0}, size_t{7}, size_t{8}, size_t{100}, good.size() / 2, good.size() - 1}) {
    test::put(shard(1), good.substr(0, size));
    expect_damaged(shard(1), "bytes instead of");
    EXPECT_EQ(Store(folder_.path()).newest_valid(Store::Check::manifest).step, 1) << "sizes";
    if (HasFatalFailure()) return;
  }
  test::put(shard(1), good + "x");
  expect_damaged(shard(1), "bytes instead of");
}

TEST_F(Damage, AShardThatIsCutShortWhileItIsReadIsAnErrorNotASignal) {
  const Reader reader(path_);
  reader.read_whole("model/large", at::empty({300, 1000}));  // all shards are open now
  for (const int rank : {0, 1}) fs::resize_file(shard(rank), 4096);
  const Error error = error_of([&] { read_all(reader); });
  EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(error.message(), HasSubstr(path_.native()));
  EXPECT_THAT(error.message(), HasSubstr("tensor '"));
  EXPECT_THAT(error.message(), HasSubstr("too short"));
}

TEST_F(Damage, ADiskThatFailsIsNamedAndNoReasonToGoOnFromAnOlderOne) {
  const Reader reader(path_), verified(path_);
  read_all(verified);
  const test::FaultScope fault(test::read_eio);
  for (const auto& read : std::vector<std::function<void()>>{
           [&] { read_all(reader); }, [&] { read_all(verified); }, [&] { reader.verify(); },
           [&] { Reader again(path_); },
           [&] {
             (void)Store(folder_.path()).newest_valid(Store::Check::everything);
           }}) {
    const Error error = error_of(read);
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.message(), HasSubstr(path_.native()));
    EXPECT_THAT(error.message(), HasSubstr("read: Input/output error"));
  }
}

TEST_F(Damage, AMissingShard) {
  fs::remove(shard(0));
  expect_damaged(shard(0), "the shard is missing");
}

TEST_F(Damage, AShardTooMany) {
  const fs::path extra = path_ / "shard-00002-of-00003.safetensors";
  fs::copy_file(shard(0), extra);
  const Error error = error_of([&] { Reader(path_).verify(); });
  EXPECT_EQ(error.kind(), ErrorKind::data_damaged);
  EXPECT_THAT(error.message(), HasSubstr(extra.native()));
  EXPECT_EQ(Store(folder_.path()).newest_valid().step, 1);
  fs::remove(extra);
  test::put(path_ / "note.txt", "a user's own file is no damage");
  Reader(path_).verify();
}

TEST_F(Damage, SwappedShards) {
  fs::rename(shard(0), path_ / "x");
  fs::rename(shard(1), shard(0));
  fs::rename(path_ / "x", shard(1));
  const Reader reader(path_);
  EXPECT_EQ(error_of([&] { read_all(reader); }).kind(), ErrorKind::data_damaged);
  EXPECT_EQ(error_of([&] { reader.verify(); }).kind(), ErrorKind::data_damaged);
}

TEST_F(Damage, AShardOfAnotherStepOrRun) {
  const fs::path other = test::write_state(folder_.path(), 3, 2, /*salt=*/0, "run2").path;
  const fs::path again = test::write_state(folder_.path(), 4, 2, /*salt=*/0, "run1").path;
  for (const fs::path& foreign : {other, again}) {
    // The same names, types and values, so only who wrote it differs.
    fs::copy_file(foreign / shard(1).filename(), shard(1), fs::copy_options::overwrite_existing);
    EXPECT_THAT(error_of([&] { read_all(Reader(path_)); }).message(),
                HasSubstr("of another checkpoint"));
    EXPECT_EQ(error_of([&] { Reader(path_).verify(); }).kind(), ErrorKind::data_damaged);
  }
}

TEST_F(Damage, AManifestOfAnotherStep) {
  fs::rename(folder_ / "step-00000001", folder_ / "step-00000009");
  const Store::Newest newest = Store(folder_.path()).newest_valid();
  EXPECT_EQ(newest.step, 2);
  ASSERT_EQ(newest.skipped.size(), 1U);
  EXPECT_THAT(newest.skipped[0], HasSubstr("it holds step 1"));
}

TEST_F(Damage, EveryFlippedByteOfTheManifestIsNoticed) {
  // By the bit in manifest_test; here that the reader and the store act on it.
  std::string bytes = test::contents_of(path_ / "manifest.json");
  for (size_t i = 0; i < bytes.size(); i += 97) {
    std::string bad = bytes;
    bad[i] = static_cast<char>(bad[i] ^ 4);
    test::put(path_ / "manifest.json", bad);
    ASSERT_EQ(error_of([&] { Reader reader(path_); }).kind(), ErrorKind::no_checkpoint);
    const auto newest = Store(folder_.path()).newest_valid();
    ASSERT_EQ(newest.step, 1);
    ASSERT_THAT(newest.skipped.at(0), HasSubstr((path_ / "manifest.json").native()));
  }
}

}  // namespace
}  // namespace trireme::checkpoint

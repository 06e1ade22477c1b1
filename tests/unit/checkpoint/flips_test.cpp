#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/checkpoint/writer.h>
#include <trireme/core/random.h>
#include <trireme/storage/safetensors.h>

#include "support/spawn_ranks.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <filesystem>
#include <fstream>
#include <optional>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using testing::HasSubstr;

/// Small checkpoints, so that every byte can have its turn: step 1 by one rank, step 2 by two.
class Flips : public testing::Test {
 protected:
  static void save(const fs::path& folder, int64_t step, int ranks) {
    test::spawn_ranks(ranks, [&](const comm::CommunicatorPtr& all) {
      Writer writer;
      writer.scalar("trainer/step", step);
      writer.replicated("model/w", at::arange(40).to(at::kFloat).view({8, 5}));
      writer.replicated("model/b", at::arange(9).to(at::kBFloat16));
      const int64_t begin = 12 * all->rank() / ranks, end = 12 * (all->rank() + 1) / ranks;
      writer.shard("optim/m", {12}, {{begin}, {end - begin}},
                   at::arange(begin, end).to(at::kDouble));
      (void)writer.commit(*all, {folder, step, "r", {{"configuration", "{}"}}});
    });
  }
  void SetUp() override {
    save(folder_.path(), 1, 1);
    save(folder_.path(), 2, 2);
    for (const fs::path& file : {path_ / manifest_name, shard(0), shard(1)})
      good_.emplace(file, test::contents_of(file));
  }

  [[nodiscard]] fs::path shard(int rank) const {
    return path_ / ("shard-0000" + std::to_string(rank) + "-of-00002.safetensors");
  }
  [[nodiscard]] size_t header_bytes(int rank) const {
    return static_cast<size_t>(storage::SafetensorsFile(shard(rank)).header_bytes());
  }

  /// verify() and the store find the damage, name the file and `what`, and the store falls back.
  void expect_found(const fs::path& file, const std::string& bytes, const std::string& what,
                    ErrorKind kind = ErrorKind::data_damaged) {
    test::put(file, bytes);
    const Error error = error_of([&] { Reader(path_).verify(); });
    ASSERT_EQ(error.kind(), kind);
    ASSERT_THAT(error.message(), HasSubstr(file.native()));
    ASSERT_THAT(error.message(), HasSubstr(what));
    const Store::Newest newest = store_.newest_valid(Store::Check::everything);
    ASSERT_EQ(newest.step, 1);
    ASSERT_THAT(newest.skipped, testing::ElementsAre(HasSubstr(file.native())));
    ASSERT_EQ(locate(folder_.path()),
              kind == ErrorKind::no_checkpoint || bytes.size() != good_.at(file).size()
                  ? store_.path_of(1)
                  : path_);  // a quick look reads no data
    test::put(file, good_.at(file));
  }

  [[nodiscard]] std::string flipped(const fs::path& file, size_t byte, int bit) const {
    std::string bytes = good_.at(file);
    bytes[byte] = static_cast<char>(static_cast<unsigned char>(bytes[byte]) ^ (1U << bit));
    return bytes;
  }

  /// The tensor whose values hold a byte of a shard.
  [[nodiscard]] std::string tensor_at(const storage::SafetensorsFile& file, size_t byte) const {
    for (const storage::SafetensorsEntry& entry : file.entries()) {
      const auto begin = static_cast<size_t>(file.header_bytes() + entry.begin);
      if (byte >= begin && byte < begin + static_cast<size_t>(entry.end - entry.begin))
        return entry.name.substr(0, entry.name.find('['));
    }
    ADD_FAILURE() << byte << " is in no tensor";
    return {};
  }

  test::TemporaryFolder folder_{test::memory_folder()};
  const Store store_{folder_.path()};
  const fs::path path_ = folder_ / "step-00000002";
  std::map<fs::path, std::string> good_;
};

TEST_F(Flips, AnUndamagedOneIsFound) {
  Reader(path_).verify();
  EXPECT_EQ(store_.newest_valid(Store::Check::everything).step, 2);
}

TEST_F(Flips, EveryByteOfTheManifest) {
  const fs::path file = path_ / manifest_name;
  for (size_t i = 0; i < good_.at(file).size(); ++i) {
    expect_found(file, flipped(file, i, static_cast<int>(i % 8)), "not valid",
                 ErrorKind::no_checkpoint);
    ASSERT_FALSE(HasFailure()) << "byte " << i;
  }
}

TEST_F(Flips, EveryByteOfEveryHeader) {
  for (const int rank : {0, 1}) {
    const size_t header = header_bytes(rank);
    for (size_t i = 0; i < header; ++i) {
      expect_found(shard(rank), flipped(shard(rank), i, static_cast<int>(i % 8)), "");
      ASSERT_FALSE(HasFailure()) << "rank " << rank << ", byte " << i;
    }
  }
}

TEST_F(Flips, TwoThousandBitsOfValues) {
  const core::RandomKey random(11);
  for (uint64_t trial = 0; trial < 2000; ++trial) {
    const int rank = static_cast<int>(trial % 2);
    const size_t header = header_bytes(rank);
    const size_t byte = header + random.below(good_.at(shard(rank)).size() - header, 2 * trial);
    const std::string tensor = tensor_at(storage::SafetensorsFile(shard(rank)), byte);
    expect_found(shard(rank),
                 flipped(shard(rank), byte, static_cast<int>(random.below(8, 2 * trial + 1))),
                 "tensor '" + tensor + "'");
    ASSERT_FALSE(HasFailure()) << "rank " << rank << ", byte " << byte;
  }
}

TEST_F(Flips, SeveralBytesAtOnceAndZeroedPages) {
  const core::RandomKey random(12);
  for (uint64_t trial = 0; trial < 200; ++trial) {
    const fs::path file =
        trial % 3 == 2 ? path_ / manifest_name : shard(static_cast<int>(trial % 3));
    std::string bytes = good_.at(file);
    const size_t begin = random.below(bytes.size() - 1, 3 * trial);
    const size_t count = 1 + random.below(bytes.size() - begin, 3 * trial + 1);
    for (size_t i = begin; i < begin + count; ++i)
      bytes[i] =
          trial % 2 == 0 ? '\0' : static_cast<char>(random.below(256, 1'000'000 * trial + i));
    if (bytes == good_.at(file)) continue;
    const bool manifest = file.filename() == manifest_name;
    expect_found(file, bytes, "", manifest ? ErrorKind::no_checkpoint : ErrorKind::data_damaged);
    ASSERT_FALSE(HasFailure()) << "trial " << trial;
  }
}

TEST_F(Flips, TruncationsAtEveryLengthAndBytesTooMany) {
  for (const auto& [file, good] : good_) {
    const bool manifest = file.filename() == manifest_name;
    const ErrorKind kind = manifest ? ErrorKind::no_checkpoint : ErrorKind::data_damaged;
    const std::string what = manifest ? "not valid" : "bytes instead of";
    for (size_t size = 0; size < good.size(); ++size) {
      expect_found(file, good.substr(0, size), what, kind);
      ASSERT_FALSE(HasFailure()) << file << " cut to " << size;
    }
    for (const std::string& more :
         {std::string(1, '\0'), std::string("\n"), std::string(4096, 'x'), good}) {
      expect_found(file, good + more, what, kind);
      ASSERT_FALSE(HasFailure()) << file << " with " << more.size() << " more";
    }
  }
}

TEST_F(Flips, WhatIsNoFileAtAll) {
  for (const auto& [file, good] : good_) {
    const ErrorKind kind =
        file.filename() == manifest_name ? ErrorKind::no_checkpoint : ErrorKind::data_damaged;
    for (const bool folder : {false, true}) {
      fs::remove(file);
      if (folder)
        fs::create_directory(file);
      else
        fs::create_symlink("/no/such/file", file);
      const Error error = error_of([&] { Reader(path_).verify(); });
      EXPECT_EQ(error.kind(), kind) << error.message();
      EXPECT_THAT(error.message(), HasSubstr(file.native()));
      EXPECT_EQ(store_.newest_valid(Store::Check::everything).step, 1);
      fs::remove(file);
      test::put(file, good);
    }
  }
}

}  // namespace
}  // namespace trireme::checkpoint

#include "checkpoint/box_bytes.h"

#include <trireme/core/random.h>
#include <trireme/storage/file_reader.h>
#include <trireme/storage/safetensors_writer.h>

#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

constexpr int64_t size = 3 * static_cast<int64_t>(storage::read_piece_bytes) + 11;

class Bytes : public testing::Test {
 protected:
  void SetUp() override {
    storage::write_safetensors(folder_ / "f", {{"before", at::ones({5}, at::kByte)},
                                               {"box", values_},
                                               {"later", at::ones({5}, at::kByte)}});
    file_.emplace(folder_ / "f");
    entry_ = file_->find("box");
  }

  /// Takes `count` bytes from `offset` and compares them.
  void take(BoxBytes& bytes, int64_t offset, int64_t count) const {
    std::vector<std::byte> part(static_cast<size_t>(count));
    bytes.take(offset, part);
    ASSERT_TRUE(std::equal(part.begin(), part.end(), data() + offset))
        << count << " bytes from " << offset;
  }
  [[nodiscard]] const std::byte* data() const {
    return static_cast<const std::byte*>(values_.const_data_ptr());
  }
  [[nodiscard]] storage::Hash128 expected_hash() const {
    return storage::hash_of(std::span(data(), static_cast<size_t>(size)));
  }

  test::TemporaryFolder folder_;
  const at::Tensor values_ = at::arange(size, at::kLong).mul(31).div(7, "floor").to(at::kByte);
  std::optional<storage::SafetensorsFile> file_;
  const storage::SafetensorsEntry* entry_ = nullptr;
};

TEST_F(Bytes, AreTakenWholeOrNotAtAll) {
  BoxBytes whole(*file_, *entry_, /*hash=*/true), none(*file_, *entry_, /*hash=*/true);
  take(whole, 0, size);
  EXPECT_EQ(whole.hash(), expected_hash());
  EXPECT_EQ(none.hash(), expected_hash());
}

TEST_F(Bytes, AreTakenInRunsOfAnySizeWithAnyGaps) {
  const core::RandomKey random(5);
  uint64_t draw = 0;
  const auto at_most = [&](int64_t most) {
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(most) + 1, draw++));
  };
  for (int trial = 0; trial < 60; ++trial) {
    const bool hash = trial % 2 == 0;
    const int64_t longest = std::vector<int64_t>{40, 100'000, 2'000'000}[trial / 2 % 3];
    BoxBytes bytes(*file_, *entry_, hash);
    for (int64_t offset = at_most(longest); offset < size; offset += at_most(longest)) {
      const int64_t count = std::min(1 + at_most(longest), size - offset);
      take(bytes, offset, count);
      if (HasFatalFailure()) return;
      offset += count;
    }
    if (hash) {
      EXPECT_EQ(bytes.hash(), expected_hash());
    }
  }
}

TEST_F(Bytes, AreTakenInOrderAndInTheBox) {
  std::vector<std::byte> one(1);
  BoxBytes bytes(*file_, *entry_, /*hash=*/false);
  take(bytes, 10, 10);
  EXPECT_EQ(test::error_of([&] { bytes.take(19, one); }).kind(), ErrorKind::unexpected);
  EXPECT_EQ(test::error_of([&] { bytes.take(size, one); }).kind(), ErrorKind::unexpected);
}

}  // namespace
}  // namespace trireme::checkpoint

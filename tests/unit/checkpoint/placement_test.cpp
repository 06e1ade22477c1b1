#include "checkpoint/placement.h"

#include <trireme/core/random.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::checkpoint {
namespace {

/// Every row once, in order; no rank above the level by more than one unit.
void judge(const std::vector<Item>& items, const std::vector<int64_t>& own, int64_t smallest_cut) {
  const auto plan = place(items, own, smallest_cut);
  ASSERT_EQ(plan.size(), own.size());
  std::vector<int64_t> next_row(items.size(), 0);
  int64_t total = 0, largest_unit = 0;
  for (const Item& item : items) {
    total += item.bytes;
    const bool whole = item.bytes <= smallest_cut || item.rows == 1;
    if (item.bytes > 0)
      largest_unit = std::max(largest_unit, whole ? item.bytes : item.bytes / item.rows);
  }
  const int64_t level = level_of(own, total);
  for (size_t rank = 0; rank < plan.size(); ++rank) {
    int64_t bytes = 0;
    for (const Piece& piece : plan[rank]) {
      const Item& item = items.at(piece.item);
      ASSERT_GT(item.bytes, 0);
      ASSERT_GT(piece.rows, 0);
      ASSERT_EQ(piece.first_row, next_row[piece.item]);
      next_row[piece.item] += piece.rows;
      ASSERT_TRUE(item.bytes > smallest_cut || piece.rows == item.rows);
      bytes += item.bytes / item.rows * piece.rows;
    }
    ASSERT_TRUE(bytes == 0 || own[rank] + bytes < level + largest_unit) << "rank " << rank;
  }
  for (size_t i = 0; i < items.size(); ++i)
    ASSERT_EQ(next_row[i], items[i].bytes == 0 ? 0 : items[i].rows) << "item " << i;
}

TEST(Placement, LevelIsTheSmallestThatSuffices) {
  for (const std::vector<int64_t>& own :
       {std::vector<int64_t>{0}, {5}, {0, 0, 0}, {7, 0, 3}, {100, 1, 1}, {4, 4}})
    for (int64_t bytes = 0; bytes < 60; ++bytes) {
      const int64_t level = level_of(own, bytes);
      const auto room = [&](int64_t l) {
        return std::accumulate(own.begin(), own.end(), int64_t{0}, [&](int64_t sum, int64_t o) {
          return sum + std::max<int64_t>(0, l - o);
        });
      };
      EXPECT_GE(room(level), bytes);
      if (level > *std::min_element(own.begin(), own.end())) {
        EXPECT_LT(room(level - 1), bytes);
      }
    }
}

TEST(Placement, SmallCasesExhaustively) {
  const std::vector<Item> kinds{{0, 0}, {0, 3}, {4, 1}, {6, 3}, {20, 10}, {9, 1}, {12, 2}};
  for (const std::vector<int64_t>& own :
       {std::vector<int64_t>{0}, {0, 0}, {5, 0}, {0, 50}, {0, 0, 0}, {3, 30, 1}, {1, 1, 1, 1}})
    for (const int64_t smallest_cut : {0, 6, 100})
      for (size_t a = 0; a < kinds.size(); ++a)
        for (size_t b = 0; b < kinds.size(); ++b)
          for (size_t c = 0; c < kinds.size(); ++c) {
            judge({kinds[a], kinds[b], kinds[c]}, own, smallest_cut);
            if (testing::Test::HasFatalFailure()) return;
          }
}

TEST(Placement, ManyItemsOnManyRanks) {
  const core::RandomKey random(7);
  for (uint64_t trial = 0; trial < 200; ++trial) {
    const core::RandomKey key = random.fold(trial);
    std::vector<int64_t> own(1 + key.below(70, 0));
    for (size_t i = 0; i < own.size(); ++i)
      own[i] = static_cast<int64_t>(key.fold("own").below(1 + (trial % 3) * 5000, i));
    std::vector<Item> items(key.below(50, 1));
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].rows = static_cast<int64_t>(1 + key.fold("rows").below(300, i));
      items[i].bytes = items[i].rows * static_cast<int64_t>(key.fold("bytes").below(40, i));
    }
    judge(items, own, 1000);
    if (HasFatalFailure()) return;
  }
}

TEST(Placement, LargeTensorsAreSharedEqually) {
  const auto plan = place(std::vector<Item>{{1000, 100}}, std::vector<int64_t>(4, 0), 100);
  for (size_t rank = 0; rank < 4; ++rank)
    EXPECT_EQ(plan[rank], (std::vector<Piece>{{0, static_cast<int64_t>(rank) * 25, 25}}));
  const auto uneven = place(std::vector<Item>{{100, 10}}, std::vector<int64_t>{0, 1000, 0}, 0);
  EXPECT_TRUE(uneven[1].empty()) << "who has much already gets nothing";
}

}  // namespace
}  // namespace trireme::checkpoint

#include <trireme/core/error.h>
#include <trireme/parallel/shard_plan.h>

#include <algorithm>
#include <numeric>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// All lists of up to four of these sizes.
std::vector<std::vector<int64_t>> all_lists() {
  std::vector<std::vector<int64_t>> all = {{}};
  for (size_t from = 0; from < all.size(); ++from) {
    if (all[from].size() == 4) continue;
    for (const int64_t size : {0, 1, 15, 16, 17, 100}) {
      std::vector<int64_t> longer = all[from];
      longer.push_back(size);
      all.push_back(std::move(longer));
    }
  }
  return all;
}

TEST(ShardPlan, ShardsAreEqualAlignedAndLittlePadded) {
  for (const std::vector<int64_t>& sizes : all_lists())
    for (int ranks = 1; ranks <= 5; ++ranks) {
      SCOPED_TRACE(testing::PrintToString(sizes) + " on " + std::to_string(ranks));
      const ShardPlan plan = plan_shards(sizes, ranks);
      EXPECT_EQ(plan.elements, plan.shard * ranks);
      EXPECT_EQ(plan.shard % 16, 0);
      ASSERT_EQ(plan.slots.size(), sizes.size());
      int64_t end = 0;
      for (size_t i = 0; i < sizes.size(); ++i) {
        EXPECT_EQ(plan.slots[i].parameter, i);
        EXPECT_EQ(plan.slots[i].elements, sizes[i]);
        EXPECT_EQ(plan.slots[i].offset % 16, 0);
        EXPECT_GE(plan.slots[i].offset, end);
        EXPECT_LT(plan.slots[i].offset - end, 16);
        end = plan.slots[i].offset + sizes[i];
      }
      EXPECT_LE(end, plan.elements);
      const int64_t needed = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
      const auto parameters = static_cast<int64_t>(sizes.size());
      EXPECT_LE(plan.elements - needed, 15 * parameters + 16 * ranks);
      EXPECT_EQ(needed == 0, plan.elements == 0);
      if (testing::Test::HasFailure()) return;
    }
}

TEST(ShardPlan, EveryElementIsOnOneRank) {
  for (const std::vector<int64_t>& sizes : all_lists())
    for (int ranks = 1; ranks <= 5; ++ranks) {
      SCOPED_TRACE(testing::PrintToString(sizes) + " on " + std::to_string(ranks));
      const ShardPlan plan = plan_shards(sizes, ranks);
      std::vector<std::vector<int>> owners;
      for (const int64_t size : sizes) owners.emplace_back(static_cast<size_t>(size), 0);
      for (int rank = 0; rank < ranks; ++rank) {
        const std::vector<ShardPart> parts = parts_of(plan, rank);
        ASSERT_EQ(parts.size(), sizes.size());
        for (size_t i = 0; i < parts.size(); ++i) {
          const ShardPart& part = parts[i];
          ASSERT_GE(part.elements, 0);
          ASSERT_GE(part.offset, 0);
          ASSERT_LE(part.offset + part.elements, plan.shard);
          ASSERT_GE(part.begin, 0);
          ASSERT_LE(part.begin + part.elements, sizes[i]);
          // The same element of the buffer, seen from the parameter and from the shard.
          if (part.elements > 0) {
            ASSERT_EQ(plan.slots[i].offset + part.begin, plan.shard * rank + part.offset);
          }
          for (int64_t e = part.begin; e < part.begin + part.elements; ++e)
            ++owners[i][static_cast<size_t>(e)];
        }
      }
      for (const std::vector<int>& counts : owners)
        ASSERT_TRUE(std::ranges::all_of(counts, [](int count) { return count == 1; }));
    }
}

TEST(ShardPlan, IsWorkedOutByHand) {
  const std::vector<int64_t> sizes = {17, 40, 1};
  const ShardPlan plan = plan_shards(sizes, 2);  // 32 + 48 + 16 elements, 48 each
  EXPECT_EQ(plan.shard, 48);
  EXPECT_EQ(plan.slots[1].offset, 32);
  EXPECT_EQ(plan.slots[2].offset, 80);
  const std::vector<ShardPart> first = parts_of(plan, 0), second = parts_of(plan, 1);
  EXPECT_EQ(first[0].elements, 17);
  EXPECT_EQ(first[1].elements, 16);
  EXPECT_EQ(first[1].offset, 32);
  EXPECT_EQ(first[2].elements, 0);
  EXPECT_EQ(second[0].elements, 0);
  EXPECT_EQ(second[1].begin, 16);
  EXPECT_EQ(second[1].offset, 0);
  EXPECT_EQ(second[1].elements, 24);
  EXPECT_EQ(second[2].offset, 32);
}

using Group = std::variant<int64_t, std::string>;

ShardGroups groups(const Group& group, int rank, const std::vector<int>& local_sizes) {
  ParallelConfig config;
  config.shard_group = group;
  return shard_groups(config, rank, local_sizes);
}

Error refused(const Group& group, const std::vector<int>& local_sizes) {
  try {
    (void)groups(group, 0, local_sizes);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::unexpected, "nothing was thrown"};
}

TEST(ShardGroups, TheWorldIsOneGroup) {
  for (int ranks = 1; ranks <= 6; ++ranks)
    for (int rank = 0; rank < ranks; ++rank) {
      // Hosts may be uneven: they do not matter here.
      std::vector<int> local_sizes(static_cast<size_t>(ranks), ranks - 1);
      local_sizes.back() = 1;
      const ShardGroups found = groups("world", rank, local_sizes);
      EXPECT_EQ(found.shard_ranks, ranks);
      EXPECT_EQ(found.group, 0);
      EXPECT_EQ(found.shard, rank);
    }
}

TEST(ShardGroups, NumbersCutTheWorldIntoNeighbours) {
  for (int ranks = 1; ranks <= 12; ++ranks)
    for (int size = 1; size <= ranks; ++size) {
      const std::vector<int> local_sizes(static_cast<size_t>(ranks), ranks);
      if (ranks % size != 0) {
        const Error error = refused(size, local_sizes);
        EXPECT_EQ(error.kind(), ErrorKind::configuration);
        EXPECT_THAT(error.message(),
                    AllOf(HasSubstr("parallel.shard_group"),
                          HasSubstr("groups of " + std::to_string(size) + " do not divide " +
                                    std::to_string(ranks) + " ranks")));
        EXPECT_THAT(error.hint(), HasSubstr("divisor"));
        continue;
      }
      for (int rank = 0; rank < ranks; ++rank) {
        const ShardGroups found = groups(size, rank, local_sizes);
        EXPECT_EQ(found.shard_ranks, size);
        EXPECT_EQ(found.group, rank / size);
        EXPECT_EQ(found.shard, rank % size);
        EXPECT_EQ(found.group * found.shard_ranks + found.shard, rank);
      }
    }
}

TEST(ShardGroups, MoreThanThereAreRanksIsRefused) {
  EXPECT_EQ(refused(8, {4, 4, 4, 4}).kind(), ErrorKind::configuration);
}

TEST(ShardGroups, NodeIsTheRanksOfAHost) {
  for (int rank = 0; rank < 6; ++rank) {
    const ShardGroups found = groups("node", rank, {3, 3, 3, 3, 3, 3});
    EXPECT_EQ(found.shard_ranks, 3);
    EXPECT_EQ(found.group, rank / 3);
    EXPECT_EQ(found.shard, rank % 3);
  }
  EXPECT_EQ(groups("node", 1, {1, 1, 1}).shard_ranks, 1);
  EXPECT_EQ(groups("node", 1, {1, 1, 1}).group, 1);
}

TEST(ShardGroups, UnevenHostsAreRefusedAsNodes) {
  for (const std::vector<int>& local_sizes :
       {std::vector<int>{3, 3, 3, 1}, {1, 3, 3, 3}, {2, 2, 1, 3, 3, 3}}) {
    const Error error = refused("node", local_sizes);
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), AllOf(HasSubstr("parallel.shard_group"), HasSubstr("host")));
    EXPECT_FALSE(error.hint().empty());
  }
  EXPECT_THAT(refused("node", {3, 3, 3, 1}).message(), HasSubstr("there are 3 and 1"));
}

}  // namespace
}  // namespace trireme::parallel

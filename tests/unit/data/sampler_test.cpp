#include <trireme/core/error.h>
#include <trireme/data/sampler.h>

#include "unit/data/files.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::data {
namespace {

Sampler sampler(int64_t n, int64_t global, LastBatch last = LastBatch::keep_short,
                bool shuffle = true) {
  return Sampler(
      {.samples = n, .global_batch = global, .seed = 9, .shuffle = shuffle, .last_batch = last});
}

/// The ids that W ranks with B samples see of one global batch, rank by rank put back into the
/// order of the batch.
std::vector<int64_t> ids_of_layout(const Sampler& s, const GlobalBatch& batch, int64_t ranks,
                                   int64_t size) {
  std::vector<int64_t> ids;
  for (int64_t m = 0; m < micro_steps(s.settings().global_batch, ranks, size); ++m)
    for (int64_t r = 0; r < ranks; ++r) {
      const SampleRun run = micro_run(batch.count, m, r, ranks, size);
      EXPECT_LE(run.count, size);
      EXPECT_GE(run.count, 0);
      EXPECT_TRUE(run.count == 0 || run.first == static_cast<int64_t>(ids.size()));
      std::vector<int64_t> mine(static_cast<size_t>(run.count));
      s.ids(batch, run, mine.data());
      ids.insert(ids.end(), mine.begin(), mine.end());
    }
  return ids;
}

TEST(Sampler, EveryLayoutSeesEverySampleOnceAndInTheSameOrder) {
  for (int64_t n = 1; n <= 24; ++n)
    for (int64_t global = 1; global <= n; ++global)
      for (int64_t ranks = 1; ranks <= 5; ++ranks)
        for (int64_t size = 1; size <= 4; ++size) {
          const Sampler s = sampler(n, global);
          std::vector<int64_t> seen;
          int64_t position = 0;
          for (int64_t step = 0; step < s.steps_per_epoch(); ++step) {
            const GlobalBatch batch = s.next(position);
            ASSERT_EQ(batch.epoch, 0);
            const auto ids = ids_of_layout(s, batch, ranks, size);
            ASSERT_EQ(static_cast<int64_t>(ids.size()), batch.count);
            for (size_t i = 0; i < ids.size(); ++i)
              ASSERT_EQ(ids[i], s.sample(0, batch.first + static_cast<int64_t>(i)));
            seen.insert(seen.end(), ids.begin(), ids.end());
            position = batch.position_after;
          }
          std::ranges::sort(seen);
          std::vector<int64_t> all(static_cast<size_t>(n));
          std::iota(all.begin(), all.end(), 0);
          ASSERT_EQ(seen, all) << n << ' ' << global << ' ' << ranks << ' ' << size;
          ASSERT_EQ(s.next(position).epoch, 1);
        }
}

TEST(Sampler, ShortLastBatchThenTheNextEpochStarts) {
  const Sampler s = sampler(10, 4);
  EXPECT_EQ(s.next(0), (GlobalBatch{0, 0, 4, 0, 4}));
  EXPECT_EQ(s.next(4), (GlobalBatch{0, 4, 4, 4, 8}));
  EXPECT_EQ(s.next(8), (GlobalBatch{0, 8, 2, 8, 10}));
  EXPECT_EQ(s.next(10), (GlobalBatch{1, 0, 4, 10, 14}));
  EXPECT_EQ(s.steps_per_epoch(), 3);
  EXPECT_EQ(s.samples_per_epoch(), 10);
}

TEST(Sampler, DroppedLastBatch) {
  const Sampler s = sampler(10, 4, LastBatch::drop);
  EXPECT_EQ(s.next(4), (GlobalBatch{0, 4, 4, 4, 8}));
  EXPECT_EQ(s.next(8), (GlobalBatch{1, 0, 4, 8, 12}));
  EXPECT_EQ(s.steps_per_epoch(), 2);
  EXPECT_EQ(s.samples_per_epoch(), 8);
}

TEST(Sampler, DropLeavesOutOtherSamplesInEachEpoch) {
  const Sampler s = sampler(9, 8, LastBatch::drop);
  std::vector<int64_t> left_out;
  for (int64_t epoch = 0; epoch < 40; ++epoch) left_out.push_back(s.sample(epoch, 8));
  EXPECT_GT(*std::ranges::max_element(left_out), *std::ranges::min_element(left_out));
}

TEST(Sampler, WithoutShufflingTheOrderIsTheIdentity) {
  const Sampler s = sampler(10, 4, LastBatch::keep_short, false);
  std::vector<int64_t> ids(3);
  s.ids(s.next(14), {1, 3}, ids.data());
  EXPECT_THAT(ids, ::testing::ElementsAre(5, 6, 7));
  EXPECT_EQ(s.sample(3, 7), 7);
}

TEST(Sampler, EpochsDiffer) {
  const Sampler s = sampler(50, 10);
  std::vector<int64_t> first(50);
  std::vector<int64_t> second(50);
  for (int64_t k = 0; k < 50; ++k) {
    first[static_cast<size_t>(k)] = s.sample(0, k);
    second[static_cast<size_t>(k)] = s.sample(1, k);
  }
  EXPECT_NE(first, second);
}

TEST(Sampler, StepsAndPositionsConvertBothWays) {
  for (const LastBatch last : {LastBatch::keep_short, LastBatch::drop})
    for (int64_t n = 1; n <= 20; ++n)
      for (int64_t global = 1; global <= n; ++global) {
        const Sampler s = sampler(n, global, last);
        int64_t position = 0;
        for (int64_t step = 0; step < 3 * s.steps_per_epoch(); ++step) {
          ASSERT_EQ(s.position_of_step(step), position);
          ASSERT_EQ(s.step_of_position(position), step);
          position = s.next(position).position_after;
        }
        ASSERT_EQ(s.steps_of_epochs(3), 3 * s.steps_per_epoch());
        ASSERT_DOUBLE_EQ(s.epochs_of_steps(s.steps_of_epochs(3)), 3);
      }
}

TEST(Sampler, APositionBetweenStepsIsServedToTheEndOfTheEpoch) {
  const Sampler s = sampler(10, 4);  // a run that resumed from a global batch of 3
  EXPECT_EQ(s.next(3), (GlobalBatch{0, 3, 4, 3, 7}));
  EXPECT_EQ(s.next(7), (GlobalBatch{0, 7, 3, 7, 10}));
}

TEST(Sampler, LargeNumbersDoNotOverflow) {
  const Sampler s = sampler(1'000'000'000'000, 4096);
  const int64_t position = s.position_of_step(3'000'000'000);
  EXPECT_EQ(s.step_of_position(position), 3'000'000'000);
  const GlobalBatch batch = s.next(position);
  std::vector<int64_t> ids(4096);
  s.ids(batch, {0, batch.count}, ids.data());
  EXPECT_EQ(ids[100], s.sample(batch.epoch, batch.first + 100));
}

TEST(Sampler, ALargerBatchThanTheDataIsRefused) {
  const Error error = testing::error_of([] { (void)sampler(10, 12); });
  EXPECT_EQ(error.kind(), ErrorKind::configuration);
  EXPECT_THAT(error.message(),
              ::testing::AllOf(::testing::HasSubstr("12"), ::testing::HasSubstr("10")));
  EXPECT_FALSE(error.hint().empty());
}

TEST(Sampler, EvaluationMayHaveALargerBatch) {
  const Sampler s(
      {.samples = 10, .global_batch = 12, .shuffle = false, .allow_larger_batch = true});
  EXPECT_EQ(s.next(0), (GlobalBatch{0, 0, 10, 0, 10}));
}

TEST(Sampler, EmptyDataAndEmptyBatchesAreRefused) {
  EXPECT_EQ(testing::error_of([] { (void)sampler(0, 1); }).kind(), ErrorKind::configuration);
  EXPECT_EQ(testing::error_of([] { (void)sampler(10, 0); }).kind(), ErrorKind::configuration);
}

TEST(MicroSteps, RoundUp) {
  EXPECT_EQ(micro_steps(16, 4, 2), 2);
  EXPECT_EQ(micro_steps(17, 4, 2), 3);
  EXPECT_EQ(micro_steps(1, 4, 2), 1);
}

}  // namespace
}  // namespace trireme::data

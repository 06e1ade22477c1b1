#include <trireme/config/load.h>
#include <trireme/core/error.h>
#include <trireme/parallel/bucket_plan.h>

#include <numeric>

#include <gmock/gmock.h>

namespace trireme::parallel {
namespace {

int64_t padded_bytes(int64_t elements) {
  return (elements + 15) / 16 * 64;
}

// What every plan must keep, whatever the sizes.
void check_plan(const std::vector<int64_t>& elements, const BucketSizes& sizes) {
  const BucketPlan plan = plan_buckets(elements, sizes);
  SCOPED_TRACE(testing::PrintToString(elements) + " first " + std::to_string(sizes.first_bytes) +
               " bytes " + std::to_string(sizes.bytes) + " last " +
               std::to_string(sizes.last_bytes));
  ASSERT_EQ(plan.bucket_of.size(), elements.size());
  int64_t offset = 0;
  size_t next = elements.size();
  for (size_t b = 0; b < plan.buckets.size(); ++b) {
    const Bucket& bucket = plan.buckets[b];
    ASSERT_EQ(bucket.offset, offset);
    ASSERT_FALSE(bucket.slots.empty());
    for (const Slot& slot : bucket.slots) {
      ASSERT_EQ(slot.parameter, --next) << "reverse order of first use, each exactly once";
      ASSERT_EQ(slot.elements, elements[slot.parameter]);
      ASSERT_EQ(slot.offset, offset);
      ASSERT_EQ(slot.offset % 16, 0);
      ASSERT_EQ(plan.bucket_of[slot.parameter], b);
      offset += padded_bytes(slot.elements) / 4;
    }
    ASSERT_EQ(bucket.offset + bucket.elements, offset);
    int64_t limit = sizes.bytes;
    if (b == 0) limit = sizes.first_bytes;
    if (b + 1 == plan.buckets.size()) limit = std::max(sizes.last_bytes, b == 0 ? limit : 0);
    if (bucket.slots.size() > 1) {
      ASSERT_LE(bucket.elements * 4, limit) << "bucket " << b;
    }
  }
  ASSERT_EQ(next, 0U);
  ASSERT_EQ(plan.elements, offset);
  // No two neighbours of the middle could have been one.
  for (size_t b = 1; b + 2 < plan.buckets.size(); ++b) {
    const int64_t with_next =
        plan.buckets[b].elements * 4 + padded_bytes(plan.buckets[b + 1].slots.front().elements);
    ASSERT_GT(with_next, sizes.bytes) << "bucket " << b;
  }
}

TEST(BucketPlan, EveryListOfUpToFiveSizes) {
  const std::vector<int64_t> choices = {0, 1, 16, 40, 100};
  const std::vector<BucketSizes> all_sizes = {{64, 64, 64},   {256, 64, 64},     {256, 128, 64},
                                              {256, 64, 128}, {256, 256, 256},   {1, 1, 1},
                                              {4096, 64, 64}, {4096, 4096, 4096}};
  for (const BucketSizes& sizes : all_sizes)
    for (size_t length = 0; length <= 5; ++length) {
      std::vector<size_t> digits(length, 0);
      while (true) {
        std::vector<int64_t> elements;
        for (const size_t d : digits) elements.push_back(choices[d]);
        check_plan(elements, sizes);
        if (testing::Test::HasFatalFailure()) return;
        size_t i = 0;
        while (i < length && ++digits[i] == choices.size()) digits[i++] = 0;
        if (i == length) break;
      }
    }
}

std::vector<std::vector<size_t>> names(const BucketPlan& plan) {
  std::vector<std::vector<size_t>> all;
  for (const Bucket& bucket : plan.buckets) {
    all.emplace_back();
    for (const Slot& slot : bucket.slots) all.back().push_back(slot.parameter);
  }
  return all;
}

using Lists = std::vector<std::vector<size_t>>;

TEST(BucketPlan, SmallFirstAndLastLargeAlone) {
  // In elements of 16 (64 bytes): parameter 2 is larger than a bucket.
  const std::vector<int64_t> elements = {16, 16, 160, 16, 16, 16, 16, 16};
  const BucketPlan plan = plan_buckets(elements, {256, 128, 64});
  EXPECT_EQ(names(plan), (Lists{{7, 6}, {5, 4, 3}, {2}, {1}, {0}}));
}

TEST(BucketPlan, AFirstParameterTooLargeForTheLastBucketIsAlone) {
  const std::vector<int64_t> embedding_first = {1000, 16, 16};
  EXPECT_EQ(names(plan_buckets(embedding_first, {256, 256, 64})), (Lists{{2, 1}, {0}}));
}

TEST(BucketPlan, ASmallModelIsOneBucket) {
  const std::vector<int64_t> elements = {16, 16, 16};
  EXPECT_EQ(names(plan_buckets(elements, {4096, 1024, 1024})), (Lists{{2, 1, 0}}));
}

TEST(BucketSizes, FromTheConfiguration) {
  constexpr int64_t mib = 1 << 20;
  ParallelConfig config;
  EXPECT_EQ(bucket_sizes(config, 1000).bytes, mib);
  EXPECT_EQ(bucket_sizes(config, 160 * mib).bytes, 10 * mib);
  EXPECT_EQ(bucket_sizes(config, 160 * mib).first_bytes, mib);
  EXPECT_EQ(bucket_sizes(config, 160 * mib).last_bytes, mib);
  EXPECT_EQ(bucket_sizes(config, 100'000 * mib).bytes, 25 * mib);
  config.bucket_mib = 4.0;
  EXPECT_EQ(bucket_sizes(config, 1000).bytes, 4 * mib);
  config.bucket_mib = 0.5;
  EXPECT_EQ(bucket_sizes(config, 1000).bytes, mib / 2);
  EXPECT_EQ(bucket_sizes(config, 1000).first_bytes, mib / 2);
}

TEST(BucketSizes, OverALinkTheyGrowWithWhatItCostsToBegin) {
  constexpr int64_t mib = 1 << 20;
  ParallelConfig config;
  const Link near = usual_gpu_link(true), far = usual_gpu_link(false);
  constexpr int64_t gpt2_124m = 498'000'000;
  EXPECT_NEAR(static_cast<double>(bucket_sizes(config, gpt2_124m, near).bytes), 61.8e6, 1e6);
  EXPECT_NEAR(static_cast<double>(bucket_sizes(config, gpt2_124m, far).bytes), 225.9e6, 1e6);
  EXPECT_EQ(bucket_sizes(config, 1000, near).bytes, 4 * mib);
  EXPECT_EQ(bucket_sizes(config, 100 * gpt2_124m, far).bytes, 256 * mib);
  EXPECT_EQ(bucket_sizes(config, gpt2_124m, near).last_bytes, mib) << "the tail is what backward cannot hide";
  config.bucket_mib = 4.0;
  EXPECT_EQ(bucket_sizes(config, gpt2_124m, near).bytes, 4 * mib);
}

TEST(ParallelConfig, BucketMibIsAutoOrANumber) {
  const auto read = [](const std::string& text) {
    return config::load_text<ParallelConfig>("bucket_mib: " + text).value.bucket_mib;
  };
  EXPECT_EQ(std::get<std::string>(read("auto")), "auto");
  EXPECT_EQ(std::get<double>(read("25")), 25.0);
  EXPECT_EQ(std::get<double>(read("0.5")), 0.5);
  for (const char* text : {"''", "0", "-1", "4MiB", "Auto", ".nan", ".inf", "1e30", "null"}) {
    try {
      (void)read(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::configuration) << text;
      EXPECT_THAT(error.message(), testing::HasSubstr("bucket_mib")) << text;
    }
  }
}

}  // namespace
}  // namespace trireme::parallel

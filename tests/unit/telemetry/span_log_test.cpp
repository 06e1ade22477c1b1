#include <trireme/telemetry/span_log.h>

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

TEST(SpanDetails, AreThoseOfTheirOwnSpan) {
  SpanLog log(8);
  const char* group = log.keep("world");
  log.write("plain", Category::user, 1, 1, 0);
  log.write("all_reduce", Category::communication, 2, 5, -1,
            {.bytes = 64, .sequence = 7, .group = group, .group_rank = 3, .group_size = 4});
  log.write("send", Category::communication, 3, 5, 2,
            {.bytes = 8, .group = group, .group_rank = 0, .group_size = 2});
  log.write("plain again", Category::user, 4, 1, 0);
  const auto spans = log.drain();
  ASSERT_EQ(spans.size(), 4U);
  EXPECT_EQ(spans[1].bytes, 64);
  EXPECT_EQ(spans[1].sequence, 7);
  EXPECT_EQ(spans[1].group, group);
  EXPECT_EQ(spans[1].group_rank, 3);
  EXPECT_EQ(spans[1].group_size, 4);
  EXPECT_EQ(spans[1].step, -1);
  EXPECT_EQ(spans[1].category, Category::communication);
  EXPECT_EQ(spans[2].sequence, -1);
  EXPECT_EQ(spans[2].bytes, 8);
  for (const size_t plain : {0U, 3U}) {
    EXPECT_EQ(spans[plain].group, nullptr);
    EXPECT_EQ(spans[plain].bytes, 0);
    EXPECT_EQ(spans[plain].sequence, -1);
    EXPECT_EQ(spans[plain].category, Category::user);
  }
}

TEST(SpanDetails, APlainSpanInASlotThatHadDetailsHasNone) {
  SpanLog log(2);
  for (int i = 0; i < 2; ++i)
    log.write("a", Category::user, i, 1, 0, {.bytes = 1, .sequence = 1, .group = "g"});
  for (int i = 2; i < 4; ++i) log.write("b", Category::user, i, 1, 0);
  for (const SpanRecord& record : log.drain()) {
    EXPECT_STREQ(record.name, "b");
    EXPECT_EQ(record.group, nullptr);
  }
}

TEST(SpanDetails, AreWholeWhileThreadsWrite) {
  SpanLog log(8);
  constexpr int64_t per_thread = 20'000;
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t)
    writers.emplace_back([&log] {
      for (int64_t i = 0; i < per_thread; ++i)
        if (i % 2 == 0)
          log.write(
              "s", Category::user, i, 1, i,
              {.bytes = 3 * i, .sequence = i, .group = "g", .group_rank = 1, .group_size = 2});
        else
          log.write("s", Category::user, i, 1, i);
    });
  int64_t seen = 0;
  const auto look = [&] {
    for (const SpanRecord& record : log.drain()) {
      ++seen;
      const bool detailed = record.start_ns % 2 == 0;
      ASSERT_EQ(record.bytes, detailed ? 3 * record.start_ns : 0);
      ASSERT_EQ(record.sequence, detailed ? record.start_ns : -1);
      ASSERT_EQ(record.group != nullptr, detailed);
    }
  };
  for (int round = 0; round < 200; ++round) look();
  for (std::thread& writer : writers) writer.join();
  look();
  EXPECT_EQ(seen + log.dropped(), 2 * per_thread);
}

TEST(SpanLog, KeepsTheTrackBesideEveryCategory) {
  SpanLog log(64);
  for (size_t i = 0; i < category_count; ++i)
    for (const Track track : {Track::thread, Track::units})
      log.write("s", static_cast<Category>(i), static_cast<int64_t>(i), 1, 7, track);
  const auto records = log.drain();
  ASSERT_EQ(records.size(), 2 * category_count);
  for (size_t i = 0; i < records.size(); ++i) {
    EXPECT_EQ(records[i].category, static_cast<Category>(i / 2));
    EXPECT_EQ(records[i].track, i % 2 == 0 ? Track::thread : Track::units);
    EXPECT_EQ(records[i].step, 7);
  }
}

TEST(ThreadNames, AreGivenOrNumbered) {
  SpanLog log(4);
  log.write("s", Category::user, 1, 1, 0);
  EXPECT_EQ(log.this_thread(), 0);
  std::thread([&] {
    log.name_this_thread("loader 0");
    EXPECT_EQ(log.this_thread(), 1);
    log.write("s", Category::user, 2, 1, 0);
  }).join();
  EXPECT_THAT(log.thread_names(), testing::ElementsAre("thread 0", "loader 0"));
  log.name_this_thread("steps");
  EXPECT_EQ(log.thread_names()[0], "steps");
  EXPECT_EQ(log.drain()[1].thread, 1);
}

TEST(ThreadNames, BeyondTheLastRingNothingIsRecorded) {
  SpanLog log(1);
  std::vector<std::thread> threads;
  std::atomic<int> without{0}, ready{0};
  for (int i = 0; i < 262; ++i)
    threads.emplace_back([&] {
      log.name_this_thread("t");
      without += log.this_thread() < 0;
      ++ready;
      while (ready < 262) std::this_thread::yield();  // numbers of dead threads come again
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(without, 6);
  EXPECT_EQ(log.thread_names().size(), 256U);
}

TEST(KeptNames, OutliveWhatTheyWereMadeFromAndAreShared) {
  SpanLog log(1);
  std::string name = "block 7";
  const char* kept = log.keep(name);
  EXPECT_EQ(log.keep("block 7"), kept);
  EXPECT_NE(log.keep("block 8"), kept);
  name = "something else";
  EXPECT_STREQ(kept, "block 7");
}

}  // namespace
}  // namespace trireme::telemetry

#include <trireme/telemetry/recorder.h>

#include <functional>
#include <numeric>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

/// Passes at least this much time without giving up the core; tests assert lower bounds and sums
/// only.
void spin(int64_t ns) {
  const int64_t end = now_ns() + ns;
  while (now_ns() < end) {
  }
}

double phase(const StepRecord& record, Phase which) {
  return record.phases[static_cast<size_t>(which)];
}

double sum(const StepRecord& record) {
  return std::accumulate(record.phases.begin(), record.phases.end(), 0.0);
}

TEST(Phases, ExcludeEachOtherAndAddUpToTheStep) {
  Recorder recorder;
  recorder.begin_step(7);
  spin(20'000);
  {
    const PhaseScope backward(recorder, Phase::backward);
    spin(100'000);
    {
      const PhaseScope wait(recorder, Phase::comm_exposed);
      spin(300'000);
    }
    spin(100'000);
  }
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(record.step, 7);
  EXPECT_GE(phase(record, Phase::backward), 200e-6);
  EXPECT_GE(phase(record, Phase::comm_exposed), 300e-6);
  EXPECT_GE(phase(record, Phase::other), 20e-6);
  EXPECT_EQ(phase(record, Phase::forward), 0);
  // If the inner scope's time also counted for the outer one the sum would exceed the step by 300
  // us.
  EXPECT_NEAR(sum(record), record.seconds, 1e-9);
}

TEST(Phases, TheSamePhaseNestsAndRepeats) {
  Recorder recorder;
  recorder.begin_step(0);
  for (int micro = 0; micro < 3; ++micro) {
    const PhaseScope outer(recorder, Phase::forward);
    const PhaseScope inner(recorder, Phase::forward);
    spin(10'000);
  }
  const StepRecord record = recorder.end_step();
  EXPECT_GE(phase(record, Phase::forward), 30e-6);
  EXPECT_NEAR(sum(record), record.seconds, 1e-9);
}

TEST(Phases, BeyondTheDeepestLevelTimeGoesToTheEnclosingPhase) {
  Recorder recorder;
  recorder.begin_step(0);
  const std::function<void(int)> nest = [&](int levels) {
    const PhaseScope scope(recorder, levels > 5 ? Phase::forward : Phase::data);
    if (levels > 1) nest(levels - 1);
  };
  nest(40);
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(phase(record, Phase::data), 0);
  EXPECT_GT(phase(record, Phase::forward), 0);
  EXPECT_NEAR(sum(record), record.seconds, 1e-9);
}

TEST(Phases, OtherThreadsAndOtherTimesRecordNothing) {
  Recorder recorder;
  { const PhaseScope before(recorder, Phase::data); }
  recorder.begin_step(1);
  std::thread([&] { const PhaseScope elsewhere(recorder, Phase::data); }).join();
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(phase(record, Phase::data), 0);
  EXPECT_EQ(phase(record, Phase::other), record.seconds);
  EXPECT_TRUE(recorder.spans().drain().empty());
}

TEST(Phases, AScopeThatOutlivesItsStepDoesNotTouchTheNext) {
  Recorder recorder;
  recorder.begin_step(1);
  {
    const PhaseScope late(recorder, Phase::optimizer);
    recorder.end_step();
    recorder.begin_step(2);
  }
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(phase(record, Phase::optimizer), 0);
  EXPECT_EQ(phase(record, Phase::other), record.seconds);
}

TEST(Recorder, KeepsTheMostRecentSteps) {
  Recorder recorder({.steps = 3, .spans_per_thread = 4});
  EXPECT_TRUE(recorder.recent(10).empty());
  for (int step = 0; step < 5; ++step) {
    recorder.begin_step(step);
    recorder.end_step();
  }
  std::vector<int64_t> steps;
  for (const StepRecord& record : recorder.recent(10)) steps.push_back(record.step);
  EXPECT_THAT(steps, testing::ElementsAre(2, 3, 4));
  ASSERT_EQ(recorder.recent(1).size(), 1U);
  EXPECT_EQ(recorder.recent(1)[0].step, 4);
}

// Marks in the stream of a device; that of the CPU passes them at once.
TEST(Recorder, PhasesOfADeviceAreReadFromItsStreamAndAddUp) {
  Recorder recorder({.device = c10::Device(c10::kCPU)});
  for (int step = 0; step < 40; ++step) {
    recorder.begin_step(step);
    {
      const PhaseScope forward(recorder, Phase::forward);
      const PhaseScope waiting(recorder, Phase::comm_exposed);
    }
    const Recorder::Unmarked recorded(recorder);
    { const PhaseScope optimizer(recorder, Phase::optimizer); }
    const StepRecord unread = recorder.end_step();
    EXPECT_EQ(unread.seconds, 0) << "the device may not have come so far";
    if (step % 3 == 0) {
      EXPECT_EQ(recorder.recent(1)[0].step, step);
    }
  }
  const std::vector<StepRecord> records = recorder.recent(40);  // more than there are timelines
  ASSERT_EQ(records.size(), 40U);
  for (const StepRecord& record : records) {
    EXPECT_GT(phase(record, Phase::forward), 0);
    EXPECT_GT(phase(record, Phase::comm_exposed), 0);
    EXPECT_EQ(phase(record, Phase::optimizer), 0) << "what is recorded leaves no marks";
    EXPECT_NEAR(std::accumulate(record.phases.begin(), record.phases.end(), 0.0), record.seconds, 1e-9);
  }
}

TEST(Recorder, CountsBelongToTheStepTheyFallInto) {
  Recorder recorder;
  recorder.count(Counter::tokens, 1000);
  recorder.begin_step(0);
  recorder.count(Counter::tokens, 64);
  recorder.count(Counter::samples, 4);
  std::thread([&] {
    recorder.count(Counter::comm_busy_ns, 2'000'000);
    recorder.count(Counter::comm_bytes, 4096);
    recorder.count(Counter::comm_calls, 1);
  }).join();
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(record.tokens, 64);
  EXPECT_EQ(record.samples, 4);
  EXPECT_DOUBLE_EQ(record.comm_busy_seconds, 2e-3);
  EXPECT_EQ(record.comm_bytes, 4096);
  EXPECT_EQ(record.comm_calls, 1);
  EXPECT_EQ(recorder.total(Counter::tokens), 1064);
  EXPECT_GT(record.memory.rss, 0);
}

TEST(Recorder, DisabledItRecordsNothingFromTheNextStepOn) {
  Recorder recorder;
  recorder.begin_step(0);
  recorder.set_enabled(false);
  EXPECT_GT(recorder.end_step().seconds, 0);
  recorder.begin_step(1);
  {
    const PhaseScope scope(recorder, Phase::forward);
    const Span span(recorder, "quiet");
  }
  const StepRecord record = recorder.end_step();
  EXPECT_EQ(record.step, 1);
  EXPECT_EQ(record.seconds, 0);
  EXPECT_EQ(recorder.recent(10).size(), 1U);
  EXPECT_TRUE(recorder.spans().drain().empty());
}

TEST(Spans, CarryNameCategoryStepAndThread) {
  Recorder recorder;
  recorder.begin_step(12);
  {
    const Span outer(recorder, "read", Category::data_loading);
    const PhaseScope phase_scope(recorder, Phase::backward);
  }
  recorder.end_step();
  std::thread([&] { const Span elsewhere(recorder, "worker"); }).join();
  const auto spans = recorder.spans().drain();
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_STREQ(spans[0].name, "read");
  EXPECT_EQ(spans[0].category, Category::data_loading);
  EXPECT_EQ(spans[0].step, 12);
  EXPECT_STREQ(spans[1].name, "backward");
  EXPECT_EQ(spans[1].category, Category::backward_pass);
  EXPECT_GE(spans[0].duration_ns, spans[1].duration_ns);
  EXPECT_STREQ(spans[2].name, "worker");
  EXPECT_EQ(spans[2].category, Category::user);
  EXPECT_NE(spans[2].thread, spans[0].thread);
  EXPECT_TRUE(recorder.spans().drain().empty());
}

TEST(Spans, AFullRingKeepsTheNewestAndCountsTheRest) {
  SpanLog log(4);
  for (int i = 0; i < 10; ++i) log.write("s", Category::user, i, 1, -1);
  const auto spans = log.drain();
  EXPECT_EQ(log.dropped() + static_cast<int64_t>(spans.size()), 10);
  ASSERT_FALSE(spans.empty());
  EXPECT_EQ(spans.back().start_ns, 9);
  EXPECT_EQ(spans.back().step, -1);
  EXPECT_GE(spans.size(), 3U);
}

TEST(Spans, DrainingWhileThreadsWriteGivesWholeRecords) {
  SpanLog log(8);
  constexpr int per_thread = 20'000;
  std::vector<std::thread> writers;
  for (int t = 0; t < 2; ++t)
    writers.emplace_back([&log] {
      for (int i = 0; i < per_thread; ++i) log.write("s", Category::user, i, i * 3, i);
    });
  int64_t seen = 0;
  const auto look = [&] {
    for (const SpanRecord& record : log.drain()) {
      ++seen;
      ASSERT_EQ(record.duration_ns, record.start_ns * 3);
      ASSERT_EQ(record.step, record.start_ns);
    }
  };
  for (int round = 0; round < 200; ++round) look();
  for (std::thread& writer : writers) writer.join();
  look();
  EXPECT_EQ(seen + log.dropped(), 2 * per_thread);
}

TEST(Spans, TwoLogsOfOneThreadDoNotMix) {
  SpanLog first(4);
  SpanLog second(4);
  first.write("a", Category::user, 1, 1, 0);
  second.write("b", Category::user, 2, 1, 0);
  first.write("c", Category::user, 3, 1, 0);
  EXPECT_EQ(first.drain().size(), 2U);
  EXPECT_EQ(second.drain().size(), 1U);
}

TEST(Names, EveryPhaseAndCategoryHasItsOwn) {
  for (size_t i = 0; i < phase_count; ++i) EXPECT_FALSE(phase_names[i].empty());
  EXPECT_EQ(name_of(Phase::comm_exposed), "comm_exposed");
  EXPECT_EQ(name_of(Category::quantization), "quantization");
  EXPECT_EQ(name_of(Category::user), "user");
  EXPECT_EQ(category_of(Phase::optimizer), Category::optimizer_step);
}

}  // namespace
}  // namespace trireme::telemetry

#include <trireme/telemetry/memory.h>
#include <trireme/telemetry/recorder.h>

#include <thread>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

using Memory = SectionScope::Memory;

SectionTotals of(const Recorder& recorder, const std::string& name) {
  for (const SectionTotals& one : recorder.sections().totals())
    if (one.name == name) return one;
  return {};
}

TEST(Section, CountsItsCallsAndLeavesSpans) {
  Recorder recorder;
  Section& section = recorder.section("experts", Category::forward_pass);
  EXPECT_EQ(&recorder.section("experts", Category::forward_pass), &section);
  EXPECT_NE(&recorder.section("experts"), &section) << "of another category";
  EXPECT_TRUE(recorder.sections().totals().empty()) << "nothing came to them yet";
  const int64_t before = now_ns();
  for (int i = 0; i < 3; ++i) const SectionScope scope(section);
  const int64_t after = now_ns();
  const SectionTotals totals = of(recorder, "experts");
  EXPECT_EQ(totals.calls, 3);
  EXPECT_GT(totals.seconds, 0);
  EXPECT_LE(totals.seconds, static_cast<double>(after - before) * 1e-9);
  EXPECT_EQ(totals.memory_calls, 0);
  EXPECT_EQ(totals.memory_peak, -1);
  const auto spans = recorder.spans().drain();
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_STREQ(spans[0].name, "experts");
  EXPECT_EQ(spans[0].category, Category::forward_pass);
  EXPECT_EQ(spans[0].peak, -1);
}

TEST(Section, TracksWhatHappensToTheTensorsMemory) {
  install_counting_allocator();
  Recorder recorder;
  Section& outer = recorder.section("outer");
  Section& inner = recorder.section("inner");
  constexpr int64_t mib = 1 << 20;
  at::Tensor kept;
  {
    const SectionScope around(outer, Memory::tracked);
    {
      const SectionScope within(inner, Memory::tracked);
      const at::Tensor dropped = at::empty({3 * mib}, at::kByte);
    }
    { const SectionScope within(inner, Memory::tracked); }
    kept = at::empty({mib}, at::kByte);
  }
  const SectionTotals inside = of(recorder, "inner"), all = of(recorder, "outer");
  EXPECT_EQ(inside.memory_calls, 2);
  EXPECT_EQ(inside.memory_delta, 0);
  EXPECT_GE(inside.memory_peak, 3 * mib);
  EXPECT_LT(inside.memory_peak, 4 * mib);
  EXPECT_GE(all.memory_delta, mib);
  EXPECT_LT(all.memory_delta, 2 * mib);
  EXPECT_GE(all.memory_peak, 3 * mib) << "what was within it too";
  const auto spans = recorder.spans().drain();
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_STREQ(spans[0].name, "outer");
  EXPECT_EQ(spans[0].bytes, all.memory_delta);
  EXPECT_EQ(spans[0].peak, all.memory_peak);
}

TEST(Section, AnyThreadMayCallAndOpenIt) {
  Recorder recorder;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) const SectionScope scope(recorder.section("shared"));
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(of(recorder, "shared").calls, 4000);
}

TEST(Section, OfARecorderThatIsOffCostsNothing) {
  Recorder recorder;
  recorder.set_enabled(false);
  { const SectionScope scope(recorder.section("off"), Memory::tracked); }
  EXPECT_TRUE(recorder.sections().totals().empty());
  EXPECT_TRUE(recorder.spans().drain().empty());
}

}  // namespace
}  // namespace trireme::telemetry

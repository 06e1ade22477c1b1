#include <trireme/comm/clock.h>
#include <trireme/comm/local.h>
#include <trireme/telemetry/span_log.h>

#include "support/spawn_ranks.h"

#include <cstdlib>
#include <mutex>

#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

using telemetry::now_ns;
using test::spawn_ranks;

TEST(Clocks, OfThreadRanksAreOne) {
  spawn_ranks(3, [](const CommunicatorPtr& all) {
    const ClockOffset offset = align_clocks(*all);
    EXPECT_EQ(offset.offset_ns, 0);
    EXPECT_EQ(offset.uncertainty_ns, 0);
    EXPECT_LE(offset.at_ns, now_ns());
  });
}

TEST(Clocks, ThatAreEqualAreFoundEqualByMessages) {
  spawn_ranks(3, [](const CommunicatorPtr& all) {
    const ClockOffset offset = align_clocks(*all, now_ns);
    EXPECT_LE(std::abs(offset.offset_ns), offset.uncertainty_ns);
    EXPECT_EQ(offset.uncertainty_ns == 0, all->rank() == 0);
  });
}

TEST(Clocks, AWorldOfOneNeedsNoMessages) {
  const ClockOffset offset = align_clocks(*make_local_communicator());
  EXPECT_EQ(offset.offset_ns, 0);
  EXPECT_EQ(offset.uncertainty_ns, 0);
}

/// Rank r's clock: hours apart, and up to 300 ppm too fast.
int64_t clock_of(int rank, int64_t true_ns) {
  return true_ns + rank * (3'600'000'000'000 + true_ns / 10'000);
}

TEST(Clocks, OffsetsAndDriftsAreFoundWithinTheirUncertainty) {
  constexpr int n = 4;
  const int64_t origin = now_ns();
  spawn_ranks(n, [&](const CommunicatorPtr& all) {
    // One of true time that runs 1000 times faster makes drift show in a short test.
    const auto true_ns = [&] {
      return 1000 * (now_ns() - origin);
    };
    const auto clock = [&] {
      return clock_of(all->rank(), true_ns());
    };
    const ClockOffset begin = align_clocks(*all, clock);
    const int64_t later = now_ns() + 30'000'000;
    while (now_ns() < later) std::this_thread::yield();
    const int64_t middle = true_ns();
    while (now_ns() < later + 30'000'000) std::this_thread::yield();
    const ClockOffset end = align_clocks(*all, clock);
    const int64_t slack = begin.uncertainty_ns + end.uncertainty_ns + 1;
    const int64_t found = to_rank0(begin, end, clock_of(all->rank(), middle));
    // The offset was taken at a moment that is uncertain, too.
    EXPECT_LE(std::abs(found - clock_of(0, middle)), 2 * slack) << "rank " << all->rank();
    EXPECT_GE(end.at_ns, begin.at_ns);
  });
}

TEST(Interpolation, IsLinearBetweenAndConstantOutside) {
  const ClockOffset begin{.at_ns = 1000, .offset_ns = 100, .uncertainty_ns = 1};
  const ClockOffset end{.at_ns = 2000, .offset_ns = 200, .uncertainty_ns = 1};
  EXPECT_EQ(to_rank0(begin, end, 1000), 1100);
  EXPECT_EQ(to_rank0(begin, end, 1500), 1650);
  EXPECT_EQ(to_rank0(begin, end, 2000), 2200);
  EXPECT_EQ(to_rank0(begin, end, 0), 100);
  EXPECT_EQ(to_rank0(begin, end, 3000), 3200);
}

TEST(Interpolation, BelowTheUncertaintyNoDriftIsConcluded) {
  const ClockOffset begin{.at_ns = 1000, .offset_ns = 100, .uncertainty_ns = 30};
  const ClockOffset end{.at_ns = 1020, .offset_ns = 140, .uncertainty_ns = 10};
  for (const int64_t at : {0, 1000, 1010, 1020, 5000})
    EXPECT_EQ(to_rank0(begin, end, at), at + 140);
  EXPECT_EQ(to_rank0(end, begin, 7), 147) << "the better one, also the other way round";
  EXPECT_EQ(to_rank0({}, {}, 42), 42);
}

TEST(Interpolation, NeverRunsBackwards) {
  const ClockOffset begin{.at_ns = 0, .offset_ns = 1'000'000'000'000, .uncertainty_ns = 5};
  const ClockOffset end{.at_ns = 10'000'000, .offset_ns = 1'000'000'003'333, .uncertainty_ns = 7};
  int64_t last = to_rank0(begin, end, -100);
  for (int64_t at = -99; at < 10'000'100; at += 37) {
    const int64_t mapped = to_rank0(begin, end, at);
    ASSERT_GE(mapped, last);
    last = mapped;
  }
}

TEST(Interpolation, HoldsOverHours) {
  const int64_t hour = 3'600'000'000'000;
  const ClockOffset begin{.at_ns = hour, .offset_ns = -7 * hour, .uncertainty_ns = 1000};
  const ClockOffset end{
      .at_ns = 25 * hour, .offset_ns = -7 * hour + 86'400'000, .uncertainty_ns = 1000};
  EXPECT_NEAR(static_cast<double>(to_rank0(begin, end, 13 * hour) - 6 * hour), 43'200'000, 2);
}

}  // namespace
}  // namespace trireme::comm

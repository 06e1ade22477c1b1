#include "parallel/traffic.h"
#include "parallel/unused_parameters.h"
#include "support/spawn_ranks.h"

#include <memory>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

// What is different where gradients are on a device, as far as it needs none.
namespace trireme::parallel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(UnusedParameters, AreNamedInTheFirstStepsOfADevice) {
  test::spawn_ranks(3, [](const comm::CommunicatorPtr& ranks) {
    const core::ParameterSet parameters{
        {"a", at::zeros({1})}, {"b", at::zeros({1})}, {"c", at::zeros({1})}};
    UnusedParameters unused(at::Device(at::kCUDA, 0), *ranks);
    Traffic traffic;
    for (int step = 0; step < UnusedParameters::compared_steps + 2; ++step) {
      // Every rank uses "a", rank 1 alone "b", nobody "c".
      const at::Tensor touched = at::tensor({1.0F, ranks->rank() == 1 ? 1.0F : 0.0F, 0.0F});
      const at::Tensor before = touched.clone();
      ReduceReport report;
      unused.begin(touched);
      unused.name(parameters, traffic, report);
      EXPECT_TRUE(at::equal(touched, before));
      if (step >= UnusedParameters::compared_steps) {
        EXPECT_THAT(report.unused, IsEmpty());
        EXPECT_THAT(report.unused_here, IsEmpty());
        continue;
      }
      EXPECT_THAT(report.unused, ElementsAre("c"));
      if (ranks->rank() == 1)
        EXPECT_THAT(report.unused_here, ElementsAre("c"));
      else
        EXPECT_THAT(report.unused_here, ElementsAre("b", "c"));
    }
    ReduceReport report;
    traffic.tell(report);
    EXPECT_EQ(report.calls, 0);
  });
}

TEST(UnusedParameters, AreNamedInEveryStepOfTheCpu) {
  test::spawn_ranks(2, [](const comm::CommunicatorPtr& ranks) {
    UnusedParameters unused(at::kCPU, *ranks);
    Traffic traffic;
    for (int step = 0; step < 5; ++step) {
      ReduceReport report;
      unused.begin(at::tensor({1.0F, 0.0F}));
      unused.name({{"a", at::zeros({1})}, {"b", at::zeros({1})}}, traffic, report);
      EXPECT_THAT(report.unused, ElementsAre("b"));
    }
  });
}

struct TimedWork final : comm::Work {
  [[nodiscard]] bool done() const override { return ended; }
  void wait() override { ++waits; }
  [[nodiscard]] int64_t busy_ns() const override { return ended ? 70 : 0; }
  bool ended = false;
  int waits = 0;
};

TEST(Traffic, OfADeviceIsTimedAStepLater) {
  Traffic traffic;
  const at::Tensor payload = at::empty({10}, at::TensorOptions(at::kMeta).dtype(at::kBFloat16));
  const auto first = std::make_shared<TimedWork>(), second = std::make_shared<TimedWork>();
  traffic.wait(first, payload);
  traffic.wait(second, payload);
  EXPECT_EQ(first->waits, 1);
  ReduceReport report;
  traffic.tell(report);
  EXPECT_EQ(report.calls, 2);
  EXPECT_EQ(report.bytes, 40);
  EXPECT_EQ(report.busy_ns, 0);
  EXPECT_EQ(report.exposed_ns, 0);
  first->ended = true;  // of the other one nothing is known in time
  report = {};
  traffic.tell(report);
  EXPECT_EQ(report.busy_ns, 70);
  EXPECT_EQ(report.calls, 0);
  report = {};
  traffic.tell(report);
  EXPECT_EQ(report.busy_ns, 0);
  EXPECT_EQ(first.use_count(), 1);
}

}  // namespace
}  // namespace trireme::parallel

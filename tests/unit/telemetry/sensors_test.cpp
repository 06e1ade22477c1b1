#include <trireme/telemetry/sensors.h>

#include <atomic>
#include <cmath>
#include <future>
#include <stdexcept>

#include <gtest/gtest.h>

namespace trireme::telemetry {
namespace {

TEST(SensorSums, AreMeansOfWhatIsThereAndTheHottestMoment) {
  SensorSums sums;
  sums.add({.utilisation = 0.5, .power_watts = 300, .celsius = 61, .throttled = {}});
  sums.add({.utilisation = 1.0, .power_watts = {}, .celsius = 70, .throttled = {"power cap"}});
  sums.add({.utilisation = {}, .power_watts = 500, .celsius = 65, .throttled = {}});
  const SensorWindow window = sums.window();
  EXPECT_DOUBLE_EQ(window.utilisation, 0.75);
  EXPECT_DOUBLE_EQ(window.power_watts, 400);
  EXPECT_DOUBLE_EQ(window.celsius, 70);
  EXPECT_DOUBLE_EQ(window.throttled, 1.0 / 3);
  EXPECT_EQ(window.readings, 3);
}

TEST(SensorSums, OfADeviceWithoutSensorsAreNoNumbers) {
  SensorSums sums;
  EXPECT_TRUE(std::isnan(sums.window().throttled)) << "nothing was read";
  sums.add({});
  const SensorWindow window = sums.window();
  EXPECT_TRUE(std::isnan(window.utilisation));
  EXPECT_TRUE(std::isnan(window.power_watts));
  EXPECT_TRUE(std::isnan(window.celsius));
  EXPECT_TRUE(std::isnan(window.throttled));
}

TEST(SensorSampler, ReadsOnItsOwnAndStartsAnewAfterEachLook) {
  std::promise<void> third;
  std::atomic<int> reads{0};
  SensorSampler sampler(
      [&] {
        if (++reads == 3) third.set_value();
        return device::Reading{.utilisation = 1.0, .power_watts = {}, .celsius = {}, .throttled = {}};
      },
      std::chrono::milliseconds(1));
  third.get_future().wait();
  const SensorWindow first = sampler.take();
  EXPECT_GE(first.readings, 2) << "the third may just be added";
  EXPECT_DOUBLE_EQ(first.utilisation, 1.0);
}

TEST(SensorSampler, EndsWithoutWaitingForItsPeriodAndAfterAFailure) {
  { const SensorSampler sampler([] { return device::Reading{}; }, std::chrono::hours(1)); }
  std::promise<void> called;
  {
    const SensorSampler failing(
        [&]() -> device::Reading {
          called.set_value();
          throw std::runtime_error("no sensor");
        },
        std::chrono::milliseconds(1));
    called.get_future().wait();
  }
}

}  // namespace
}  // namespace trireme::telemetry

#include <trireme/core/log.h>
#include <trireme/telemetry/sensors.h>

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <limits>
#include <mutex>
#include <thread>
#include <utility>

namespace trireme::telemetry {
namespace {

constexpr double absent = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void SensorSums::add(const device::Reading& reading) {
  ++readings_;
  const auto add_to = [](Sum& sum, const std::optional<double>& value) {
    if (!value) return;
    sum.total += *value;
    ++sum.count;
  };
  add_to(utilisation_, reading.utilisation);
  add_to(power_, reading.power_watts);
  if (reading.celsius) {
    celsius_ = celsius_count_ == 0 ? *reading.celsius : std::max(celsius_, *reading.celsius);
    ++celsius_count_;
  }
  if (!reading.throttled.empty()) ++throttled_;
}

SensorWindow SensorSums::window() const {
  const auto mean = [](const Sum& sum) {
    return sum.count > 0 ? sum.total / static_cast<double>(sum.count) : absent;
  };
  // A device without any sensor does not say either that its clocks are free.
  const bool has_sensors = utilisation_.count + power_.count + celsius_count_ > 0;
  return {.utilisation = mean(utilisation_),
          .power_watts = mean(power_),
          .celsius = celsius_count_ > 0 ? celsius_ : absent,
          .throttled = has_sensors ? static_cast<double>(throttled_) / static_cast<double>(readings_)
                                   : absent,
          .readings = readings_};
}

struct SensorSampler::Shared {
  Read read;
  std::chrono::milliseconds period;
  std::mutex guard;
  std::condition_variable wake;
  bool ended = false;
  SensorSums sums;
  std::thread thread;  // last: it uses the others

  void run() {
    std::unique_lock lock(guard);
    while (!ended) {
      lock.unlock();
      device::Reading reading;
      try {
        reading = read();
      } catch (const std::exception& error) {
        log::warning("the device's sensors are not read any more: {}", error.what());
        return;
      }
      lock.lock();
      sums.add(reading);
      wake.wait_for(lock, period, [this] { return ended; });
    }
  }
};

SensorSampler::SensorSampler(Read read, std::chrono::milliseconds period)
    : shared_(std::make_unique<Shared>()) {
  shared_->read = std::move(read);
  shared_->period = period;
  shared_->thread = std::thread([shared = shared_.get()] { shared->run(); });
}

SensorSampler::~SensorSampler() {
  {
    const std::lock_guard lock(shared_->guard);
    shared_->ended = true;
  }
  shared_->wake.notify_all();
  shared_->thread.join();
}

SensorWindow SensorSampler::take() {
  const std::lock_guard lock(shared_->guard);
  return std::exchange(shared_->sums, {}).window();
}

}  // namespace trireme::telemetry

#include "streams.h"

#include "emulated.h"
#include "host_sync.h"
#include "tape.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>

#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace trireme::emulated {
namespace {

constexpr int most_devices = 64;
constexpr c10::StreamId pool_size = 32;

thread_local int this_device = 0;
thread_local std::array<c10::StreamId, most_devices> this_stream{};

c10::Stream stream_of(int device, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE,
                     c10::Device(device_type, static_cast<c10::DeviceIndex>(device)), id);
}

struct Event {
  std::chrono::steady_clock::time_point time;
  std::optional<Moment> recorded;  ///< in a graph
};

class DeviceGuard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return device_type; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device outer = getDevice();
    make_current(device.index());
    return outer;
  }
  c10::Device getDevice() const override {
    return {device_type, static_cast<c10::DeviceIndex>(this_device)};
  }
  void setDevice(c10::Device device) const override { make_current(device.index()); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    this_device = device.index();
  }
  c10::DeviceIndex deviceCount() const noexcept override {
    return static_cast<c10::DeviceIndex>(device_count());
  }
  c10::DeviceCapability getDeviceCapability(c10::Device) const override { return {}; }

  c10::Stream getStream(c10::Device device) const override {
    return current_stream(device.has_index() ? device.index() : this_device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override {
    return stream_of(device.index(), 0);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override {
    return stream_from_pool(device.has_index() ? device.index() : this_device);
  }
  c10::Stream getNewStream(c10::Device device, int) const override {
    return getStreamFromGlobalPool(device, false);
  }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    const c10::Stream outer = current_stream(stream.device_index());
    this_stream[static_cast<size_t>(stream.device_index())] = stream.id();
    return outer;
  }
  bool queryStream(const c10::Stream& stream) const override {
    refuse_recorded(stream, "a question whether a stream is done");
    return true;
  }
  void synchronizeStream(const c10::Stream& stream) const override {
    refuse_recorded(stream, "synchronising a stream");
    host_sync("synchronising a stream");
  }
  void synchronizeDevice(c10::DeviceIndex) const override { host_sync("synchronising a device"); }

  void record(void** event, const c10::Stream& stream, c10::DeviceIndex,
              c10::EventFlag) const override {
    if (*event == nullptr) *event = new Event;
    *static_cast<Event*>(*event) = {std::chrono::steady_clock::now(), Tape::moment_of(stream)};
  }
  void block(void* event, const c10::Stream& stream) const override {
    if (event != nullptr) Tape::wait(stream, static_cast<const Event*>(event)->recorded);
  }
  bool queryEvent(void* event) const override {
    if (event != nullptr) refuse_recorded(event, "a question whether an event is reached");
    return true;
  }
  void synchronizeEvent(void* event) const override {
    if (event == nullptr) return;
    refuse_recorded(event, "waiting for an event");
    host_sync("waiting for an event");
  }
  double elapsedTime(void* first, void* second, c10::DeviceIndex) const override {
    refuse_recorded(first, "the time of an event");
    refuse_recorded(second, "the time of an event");
    return std::chrono::duration<double, std::milli>(static_cast<Event*>(second)->time -
                                                     static_cast<Event*>(first)->time)
        .count();
  }
  void destroyEvent(void* event, c10::DeviceIndex) const noexcept override {
    delete static_cast<Event*>(event);
  }

 private:
  static void refuse_recorded(const c10::Stream& stream, const char* what) {
    if (Tape::records(stream)) refuse_in_recording(what);
  }
  static void refuse_recorded(const void* event, const char* what) {
    if (static_cast<const Event*>(event)->recorded) refuse_in_recording(what);
  }
};

}  // namespace

int device_count() {
  static const int count = [] {
    const char* text = std::getenv("TRIREME_EMULATED_DEVICES");
    const int wanted = text == nullptr ? 8 : std::atoi(text);
    return std::min(std::max(wanted, 0), most_devices);
  }();
  return count;
}

int current_device() {
  return this_device;
}

c10::Stream current_stream(int device) {
  return stream_of(device, this_stream[static_cast<size_t>(device)]);
}

c10::Stream stream_from_pool(int device) {
  static std::atomic<c10::StreamId> next{0};
  return stream_of(device, 1 + next++ % pool_size);
}

void make_current(int device) {
  TORCH_CHECK(device >= 0 && device < device_count(), "there is no emulated device ", device);
  this_device = device;
}

void make_current(const c10::Stream& stream) {
  make_current(stream.device_index());
  this_stream[static_cast<size_t>(stream.device_index())] = stream.id();
}

void register_device_guard() {
  c10::impl::registerDeviceGuard(device_type, new DeviceGuard);
}

}  // namespace trireme::emulated

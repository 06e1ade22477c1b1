#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include <c10/core/Device.h>
#include <c10/core/Event.h>

namespace trireme::device {

/// A moment in the work of a device's current stream: reached when everything is done that was enqueued before. On the CPU,
/// which works while it is told to, it is reached at once. Copies are the same moment. Not to be asked about while its stream
/// is being recorded into a graph.
class Mark {
 public:
  /// A moment that was reached long ago.
  Mark() : device_(c10::DeviceType::CPU) {}
  /// Of the calling thread's current stream. A timed one costs the device a little more.
  [[nodiscard]] static Mark now(c10::Device device, bool timed = false);

  [[nodiscard]] bool reached() const;
  void wait_on_host() const;
  /// What the calling thread's current stream of the device is given from here on waits for it; the host does not.
  void wait_on_stream() const;
  /// Both were timed and are reached; on the CPU, seconds of the steady clock.
  [[nodiscard]] double seconds_since(const Mark& earlier) const;

 private:
  explicit Mark(c10::Device device) : device_(device) {}
  c10::Device device_;
  std::chrono::steady_clock::time_point time_;
  std::shared_ptr<c10::Event> event_;  ///< null on the CPU
};

/// How often, and how long, this process's host threads have waited in Mark::wait_on_host() for something that a device had not
/// reached.
struct HostWaits {
  int64_t count = 0;
  double seconds = 0;
};
[[nodiscard]] HostWaits host_waits();

}  // namespace trireme::device

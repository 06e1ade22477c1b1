#pragma once

#include <trireme/core/error.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace trireme::comm {

/// Steady time of the last sign of life of a communication thread, in nanoseconds.
using Heartbeat = std::atomic<int64_t>;
[[nodiscard]] int64_t steady_ns();

/// Whether one communicator of one rank still works. Communicators split from it are poisoned with
/// it. Also the meeting point of its operations: `mutex` and `changed` guard and announce their
/// completion.
class Health {
 public:
  /// `wake` rouses the communication thread; `heartbeat` is that thread's. A poisoned parent makes
  /// a poisoned child.
  [[nodiscard]] static std::shared_ptr<Health> make(const std::shared_ptr<Health>& parent,
                                                    std::function<void()> wake,
                                                    std::shared_ptr<Heartbeat> heartbeat);

  void poison(const Error& reason);
  [[nodiscard]] std::shared_ptr<const Error> reason() const;
  [[nodiscard]] bool poisoned() const { return poisoned_.load(std::memory_order_acquire); }
  void throw_if_poisoned() const;

  [[nodiscard]] std::chrono::milliseconds deadline() const {
    return std::chrono::milliseconds(deadline_ms_.load());
  }
  void set_deadline(std::chrono::milliseconds deadline) { deadline_ms_ = deadline.count(); }
  [[nodiscard]] const Heartbeat& heartbeat() const { return *heartbeat_; }

  std::mutex mutex;
  std::condition_variable changed;

 private:
  std::atomic<bool> poisoned_{false};
  std::atomic<int64_t> deadline_ms_{600'000};
  std::function<void()> wake_;
  std::shared_ptr<Heartbeat> heartbeat_;
  mutable std::mutex reason_mutex_;
  std::shared_ptr<const Error> reason_;
  std::vector<std::weak_ptr<Health>> children_;
};

}  // namespace trireme::comm

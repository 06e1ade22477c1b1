#include "comm/operation.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/core.h>

namespace trireme::comm {

using namespace std::chrono_literals;

Operation::Operation(std::shared_ptr<const Group> group, std::shared_ptr<Health> health,
                     std::string_view what, int64_t bytes, uint64_t sequence, Body body)
    : group_(std::move(group)),
      health_(std::move(health)),
      what_(what),
      bytes_(bytes),
      sequence_(sequence),
      body_(std::move(body)) {}

void Operation::wait() {
  std::unique_lock lock(health_->mutex);
  while (!done() && !health_->poisoned()) {
    // The communication thread itself watches the deadline; this catches a thread that is stuck
    // inside a library.
    const auto deadline = health_->deadline();
    const auto slice = std::clamp<std::chrono::milliseconds>(deadline / 4, 10ms, 1000ms);
    if (health_->changed.wait_for(lock, slice, [&] { return done() || health_->poisoned(); }))
      break;
    const auto silence = std::chrono::nanoseconds(steady_ns() - health_->heartbeat().load());
    if (silence < deadline + 2s) continue;
    lock.unlock();
    health_->poison(hang("the communication thread itself is stuck"));
    lock.lock();
  }
  if (!done()) throw Error(*health_->reason());
  if (failure_ != nullptr) throw Error(*failure_);
}

std::optional<Interval> Operation::interval() const {
  if (!done() || started_ns_ == 0) return std::nullopt;
  return Interval{started_ns_, started_ns_ + busy_ns_.load()};
}

void Operation::start(Peers& peers) {
  started_ns_ = steady_ns();
  body_(peers);
}

void Operation::end(std::shared_ptr<const Error> failure) {
  if (started_ns_ != 0) busy_ns_ = std::max<int64_t>(1, steady_ns() - started_ns_);
  // After a failure the transport may still touch the memory that the body holds.
  if (failure == nullptr) body_ = nullptr;
  {
    const std::lock_guard lock(health_->mutex);
    failure_ = std::move(failure);
    ended_.store(true, std::memory_order_release);
  }
  health_->changed.notify_all();
}

bool Operation::overdue(int64_t now_ns) const {
  return std::chrono::nanoseconds(now_ns - started_ns_) > health_->deadline();
}

std::string Operation::describe() const {
  return fmt::format("{} of {} bytes, operation {} of communicator {}", what_, bytes_, sequence_,
                     group_->name);
}

Error Operation::hang(std::string_view detail) const {
  return Error(
      ErrorKind::hang,
      fmt::format("rank {} of {}: {} did not end within {:.3g} s: {}", group_->rank, group_->name,
                  describe(), std::chrono::duration<double>(health_->deadline()).count(), detail),
      "the ranks waited for have not entered this operation: see what they do (debugger, "
      "flight records); if they are only slow, give the communicator a longer deadline");
}

}  // namespace trireme::comm

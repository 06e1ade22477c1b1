#include "comm/health.h"

#include <utility>

namespace trireme::comm {

int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::shared_ptr<Health> Health::make(const std::shared_ptr<Health>& parent,
                                     std::function<void()> wake,
                                     std::shared_ptr<Heartbeat> heartbeat) {
  auto health = std::make_shared<Health>();
  health->wake_ = std::move(wake);
  health->heartbeat_ = std::move(heartbeat);
  if (parent == nullptr) return health;
  health->set_deadline(parent->deadline());
  std::shared_ptr<const Error> inherited;
  {
    const std::lock_guard lock(parent->reason_mutex_);
    std::erase_if(parent->children_, [](const auto& child) { return child.expired(); });
    parent->children_.push_back(health);
    inherited = parent->reason_;
  }
  if (inherited != nullptr) health->poison(*inherited);
  return health;
}

void Health::poison(const Error& reason) {
  std::vector<std::weak_ptr<Health>> children;
  {
    const std::lock_guard lock(reason_mutex_);
    if (reason_ != nullptr) return;
    reason_ = std::make_shared<const Error>(reason);
    children = children_;
  }
  // First what was split from this: whoever learns that this is poisoned finds those poisoned too.
  for (const auto& weak : children)
    if (const auto child = weak.lock()) child->poison(reason);
  {
    const std::lock_guard lock(mutex);  // so that no waiter is between its look and its sleep
    poisoned_.store(true, std::memory_order_release);
  }
  changed.notify_all();
  if (wake_) wake_();
}

std::shared_ptr<const Error> Health::reason() const {
  const std::lock_guard lock(reason_mutex_);
  return reason_;
}

void Health::throw_if_poisoned() const {
  if (poisoned()) throw Error(*reason());
}

}  // namespace trireme::comm

#pragma once

#include <trireme/comm/communicator.h>

#include "comm/health.h"

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::comm {

class Peers;

/// The ranks of a communicator and how their messages are told from those of others.
struct Group {
  std::string name;
  int rank = 0;            ///< of this process, in the group
  std::vector<int> ranks;  ///< world rank of each member
  int context = 0;  ///< the same on all members, and different for any two groups that share a rank
};

/// One call of a communicator: what to do on the communication thread, and where its caller waits
/// for it.
class Operation final : public Work {
 public:
  /// Runs on the communication thread. What the body captures lives until the operation has ended.
  using Body = std::function<void(Peers&)>;

  Operation(std::shared_ptr<const Group> group, std::shared_ptr<Health> health,
            std::string_view what, int64_t bytes, uint64_t sequence, Body body);

  [[nodiscard]] bool done() const override { return ended_.load(std::memory_order_acquire); }
  void wait() override;
  [[nodiscard]] int64_t busy_ns() const override { return busy_ns_.load(); }
  [[nodiscard]] std::optional<Interval> interval() const override;

  // For the communication thread.
  [[nodiscard]] const Group& group() const { return *group_; }
  [[nodiscard]] Health& health() const { return *health_; }
  void start(Peers& peers);
  /// `failure` null: it succeeded.
  void end(std::shared_ptr<const Error> failure);
  [[nodiscard]] int64_t started_ns() const { return started_ns_; }
  [[nodiscard]] bool overdue(int64_t now_ns) const;
  /// "all_reduce of 4096 bytes, operation 17 of communicator world"
  [[nodiscard]] std::string describe() const;
  [[nodiscard]] Error hang(std::string_view detail) const;

 private:
  std::shared_ptr<const Group> group_;
  std::shared_ptr<Health> health_;
  std::string_view what_;  // a literal
  int64_t bytes_;
  uint64_t sequence_;
  Body body_;
  int64_t started_ns_ = 0;
  std::atomic<int64_t> busy_ns_{0};
  std::atomic<bool> ended_{false};
  std::shared_ptr<const Error> failure_;
};
using OperationPtr = std::shared_ptr<Operation>;

}  // namespace trireme::comm

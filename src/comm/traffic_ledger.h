#pragma once

#include <trireme/comm/traced.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace trireme::comm {

enum class Call : uint8_t {
  all_reduce,
  reduce_scatter,
  all_gather,
  broadcast,
  all_to_all,
  barrier,
  gather_bytes,
  all_gather_bytes,
  broadcast_bytes,
  split,
  send,
  recv,
};
constexpr std::array<const char*, 12> call_names{
    "all_reduce",   "reduce_scatter",   "all_gather",      "broadcast", "all_to_all", "barrier",
    "gather_bytes", "all_gather_bytes", "broadcast_bytes", "split",     "send",       "recv"};
static_assert(static_cast<size_t>(Call::recv) + 1 == call_names.size());

/// All ranks of the group make it together.
[[nodiscard]] constexpr bool is_collective(Call call) {
  return call < Call::send;
}

/// What one communicator did. Any thread.
struct Account {
  struct Sums {
    std::atomic<int64_t> calls{0}, bytes{0}, busy_ns{0}, waited_ns{0}, timed_bytes{0};
  };
  explicit Account(std::string name) : group(std::move(name)) {}
  Sums& of(Call call) { return sums[static_cast<size_t>(call)]; }

  const std::string group;
  std::array<Sums, call_names.size()> sums;
};

/// The accounts of a communicator and of all that were split from it.
class TrafficLedger {
 public:
  [[nodiscard]] Account* open(std::string group);
  [[nodiscard]] std::vector<TrafficRow> rows() const;
  /// Adds calls and bytes to the account of the row's group, which is open.
  void count_again(const TrafficRow& row);

 private:
  [[nodiscard]] Account* find(const std::string& group) const;

  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Account>> accounts_;
};

}  // namespace trireme::comm

#include "comm/traffic_ledger.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <utility>

namespace trireme::comm {

Account* TrafficLedger::find(const std::string& group) const {
  const auto found = std::find_if(accounts_.begin(), accounts_.end(),
                                  [&](const auto& account) { return account->group == group; });
  return found == accounts_.end() ? nullptr : found->get();
}

Account* TrafficLedger::open(std::string group) {
  const std::lock_guard lock(mutex_);
  if (Account* const there = find(group)) return there;
  return accounts_.emplace_back(std::make_unique<Account>(std::move(group))).get();
}

void TrafficLedger::count_again(const TrafficRow& row) {
  const std::lock_guard lock(mutex_);
  Account* const account = find(row.group);
  const auto call = std::find(call_names.begin(), call_names.end(), row.operation);
  check(account != nullptr && call != call_names.end(), "rows are counted where they come from");
  Account::Sums& sums = account->sums[static_cast<size_t>(call - call_names.begin())];
  sums.calls += row.calls;
  sums.bytes += row.bytes;
}

std::vector<TrafficRow> TrafficLedger::rows() const {
  std::vector<TrafficRow> rows;
  const std::lock_guard lock(mutex_);
  for (const auto& account : accounts_)
    for (size_t i = 0; i < call_names.size(); ++i) {
      const Account::Sums& sums = account->sums[i];
      if (sums.calls == 0) continue;
      rows.push_back({.group = account->group,
                      .operation = call_names[i],
                      .calls = sums.calls,
                      .bytes = sums.bytes,
                      .busy_seconds = static_cast<double>(sums.busy_ns) * 1e-9,
                      .waited_seconds = static_cast<double>(sums.waited_ns) * 1e-9,
                      .timed_bytes = sums.timed_bytes});
    }
  return rows;
}

}  // namespace trireme::comm

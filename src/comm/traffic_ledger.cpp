#include "comm/traffic_ledger.h"

#include <algorithm>
#include <utility>

namespace trireme::comm {

Account* TrafficLedger::open(std::string group) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(accounts_.begin(), accounts_.end(),
                                  [&](const auto& account) { return account->group == group; });
  if (found != accounts_.end()) return found->get();
  return accounts_.emplace_back(std::make_unique<Account>(std::move(group))).get();
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
                      .waited_seconds = static_cast<double>(sums.waited_ns) * 1e-9});
    }
  return rows;
}

}  // namespace trireme::comm

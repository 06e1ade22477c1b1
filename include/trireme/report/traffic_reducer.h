#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/traced.h>
#include <trireme/telemetry/statistics.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// One operation of one group over the ranks that are in the group: means a step, and their spread.
struct TrafficSpread {
  std::string group;
  std::string operation;
  int ranks = 0;
  double calls = 0;
  double bytes = 0;
  double busy_seconds = 0;
  double waited_seconds = 0;
  telemetry::Spread bytes_per_second;  ///< of transfers whose time is known, by rank of all ranks
};

/// Every rank calls, with its rows over `steps` steps; rows are matched by group and operation, and
/// ranks may have different ones. On rank 0 all of them, the busiest first; nothing elsewhere.
[[nodiscard]] std::optional<std::vector<TrafficSpread>> reduce_traffic(
    comm::Communicator& ranks, std::span<const comm::TrafficRow> mine, int64_t steps);

}  // namespace trireme::report

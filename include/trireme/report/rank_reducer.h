#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/world.h>
#include <trireme/report/rank_row.h>
#include <trireme/telemetry/statistics.h>

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// A window of steps over all ranks.
struct Window {
  std::vector<RankRow> rows;  ///< by rank
  std::array<telemetry::Spread, item_count> items;
};
[[nodiscard]] Window window_of(std::vector<RankRow> rows);

/// Host names by rank.
[[nodiscard]] std::vector<std::string> hosts_of(std::span<const comm::RankInfo> ranks);

/// Brings the rows of all ranks to rank 0.
class RankReducer {
 public:
  explicit RankReducer(comm::CommunicatorPtr ranks);
  /// Every rank calls, for the same window; one all-gather of a few hundred bytes. The window on
  /// rank 0, nothing elsewhere.
  [[nodiscard]] std::optional<Window> reduce(const RankRow& mine);

 private:
  comm::CommunicatorPtr ranks_;
};

}  // namespace trireme::report

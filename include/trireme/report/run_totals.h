#pragma once

#include <trireme/report/rank_reducer.h>
#include <trireme/report/unit_reducer.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// All windows of an attempt added up by rank: what report.json is made of.
class RunTotals {
 public:
  /// Every window has the same ranks.
  void add(const Window& window);

  /// Mean rows a step by rank (memory: the most).
  [[nodiscard]] std::vector<RankRow> rows() const;

  /// The text of report.json: phases, memory, communication and data wait of every rank, their
  /// spread, the units of the model, the verdict in words.
  [[nodiscard]] std::string report_json(std::span<const std::string> hosts, int64_t attempt,
                                        std::span<const UnitSpread> units = {}) const;

 private:
  std::vector<RankRow> sums_;  // means times steps; memory: the most
};

}  // namespace trireme::report

#pragma once

#include <trireme/report/rank_reducer.h>
#include <trireme/report/row_sum.h>
#include <trireme/report/section_reducer.h>
#include <trireme/report/traffic_reducer.h>
#include <trireme/report/unit_reducer.h>
#include <trireme/report/verdict.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::report {

/// What report.json says besides the windows; all of rank 0.
struct ReportParts {
  std::vector<UnitSpread> units = {};
  std::vector<SectionSpread> sections = {};
  std::vector<TrafficSpread> communication = {};
  /// The text of operators.json; one that is no JSON is left out.
  std::optional<std::string> operators = {};
  /// What was expected before the run began, of a rank.
  std::optional<MemoryKinds> memory_forecast = {};
  std::optional<double> peak_flops_per_rank = {};
  /// Stragglers, leaks and losses are filled in by RunFolder.
  Circumstances known = {};
};

/// All windows of an attempt added up by rank: what report.json is made of.
class RunTotals {
 public:
  /// Every window has the same ranks.
  void add(const Window& window);

  /// Mean rows a step by rank (memory: the most).
  [[nodiscard]] std::vector<RankRow> rows() const;

  /// The text of report.json: phases, memory, communication and data wait of every rank, their
  /// spread, the units of the model, the verdict in words. `history` and `goodput` are texts of
  /// JSON, or empty.
  [[nodiscard]] std::string report_json(std::span<const std::string> hosts, int64_t attempt,
                                        const ReportParts& parts = {},
                                        std::string_view history = {},
                                        std::string_view goodput = {}) const;

 private:
  std::vector<RowSum> ranks_;
};

}  // namespace trireme::report

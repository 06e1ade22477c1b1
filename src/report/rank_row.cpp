#include <trireme/report/rank_row.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <vector>

namespace trireme::report {

RankRow row_of(std::span<const telemetry::StepRecord> steps) {
  RankRow row{};
  if (steps.empty()) return row;
  const auto at = [&row](Item item) -> double& {
    return row[index_of(item)];
  };
  const auto raise = [&at](Item item, int64_t bytes) {
    at(item) = std::max(at(item), static_cast<double>(bytes));
  };
  for (const telemetry::StepRecord& step : steps) {
    for (size_t i = 0; i < telemetry::phase_count; ++i) row[i] += step.phases[i];
    at(Item::step_seconds) += step.seconds;
    at(Item::comm_busy_seconds) += step.comm_busy_seconds;
    at(Item::comm_bytes) += static_cast<double>(step.comm_bytes);
    at(Item::comm_calls) += static_cast<double>(step.comm_calls);
    raise(Item::allocated, step.memory.allocated);
    raise(Item::reserved, step.memory.reserved);
    raise(Item::peak, step.memory.peak);
    raise(Item::rss, step.memory.rss);
  }
  const auto count = static_cast<double>(steps.size());
  for (size_t i = 0; i <= index_of(Item::comm_calls); ++i) row[i] /= count;
  at(Item::steps) = count;
  return row;
}

double working_seconds(const RankRow& row) {
  return row[index_of(Item::step_seconds)] - row[index_of(telemetry::Phase::comm_exposed)];
}

Slowest slowest_of(std::span<const RankRow> rows) {
  if (rows.size() < 2) return {};
  const auto slowest = std::max_element(
      rows.begin(), rows.end(),
      [](const RankRow& a, const RankRow& b) { return working_seconds(a) < working_seconds(b); });
  std::vector<double> others;
  for (auto row = rows.begin(); row != rows.end(); ++row)
    if (row != slowest) others.push_back(working_seconds(*row));
  const double usual = telemetry::median_of(others);
  if (usual <= 0) return {};
  return {static_cast<int>(slowest - rows.begin()), working_seconds(*slowest) / usual - 1};
}

}  // namespace trireme::report

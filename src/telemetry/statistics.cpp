#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace trireme::telemetry {

Spread spread_of(std::span<const double> values) {
  Spread spread;
  std::vector<double> sorted;
  for (size_t rank = 0; rank < values.size(); ++rank) {
    const double value = values[rank];
    if (!std::isfinite(value)) continue;
    if (sorted.empty() || value < spread.min) {
      spread.min = value;
      spread.min_rank = static_cast<int>(rank);
    }
    if (sorted.empty() || value > spread.max) {
      spread.max = value;
      spread.max_rank = static_cast<int>(rank);
    }
    sorted.push_back(value);
  }
  if (sorted.empty()) return spread;
  std::sort(sorted.begin(), sorted.end());
  spread.mean =
      std::accumulate(sorted.begin(), sorted.end(), 0.0) / static_cast<double>(sorted.size());
  // In integers: 0.95 * n rounds up where it must not.
  spread.p95 = sorted[(sorted.size() * 95 + 99) / 100 - 1];
  return spread;
}

double median_of(std::span<const double> values) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace trireme::telemetry

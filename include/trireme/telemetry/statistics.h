#pragma once

#include <span>

namespace trireme::telemetry {

/// How one quantity is spread over the ranks.
struct Spread {
  double min = 0;
  double mean = 0;
  double p95 =
      0;  ///< nearest rank: the smallest value that at least 95 % of the ranks do not exceed
  double max = 0;
  int min_rank = -1;  ///< the lowest rank that has the minimum; -1 without values
  int max_rank = -1;
};

/// values[r] is rank r's. Values that are not finite are left out.
[[nodiscard]] Spread spread_of(std::span<const double> values);

/// The median (mean of the middle two); 0 without values.
[[nodiscard]] double median_of(std::span<const double> values);

}  // namespace trireme::telemetry

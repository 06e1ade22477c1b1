#include "debug/gradient_history.h"

#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <cmath>

namespace trireme::debug {

std::optional<double> GradientHistory::median() const {
  if (norms_.size() < 3) return std::nullopt;
  return telemetry::median_of(norms_);
}

void GradientHistory::add(double norm) {
  if (!std::isfinite(norm) || norm == 0) return;
  if (norms_.size() < kept)
    norms_.push_back(norm);
  else
    norms_[next_++ % kept] = norm;
}

double typical_norm(const std::vector<double>& norms, const std::vector<double>& before) {
  if (norms.empty()) return 0;
  double typical = telemetry::median_of(norms);
  if (!before.empty()) typical = std::min(typical, telemetry::median_of(before));
  const double largest = *std::ranges::max_element(norms);
  return largest <= modest_norm && largest > exploding_over_others * typical ? largest : typical;
}

GradientVerdict judge_gradient(double norm, double others, const GradientHistory& history) {
  if (norm == 0) return GradientVerdict::ordinary;
  if (norm < vanishing_norm || norm < vanishing_share * others) return GradientVerdict::vanishing;
  const std::optional<double> before = history.median();
  if ((before && norm > exploding_factor * *before) ||
      (others > 0 && norm > exploding_over_others * others))
    return GradientVerdict::exploding;
  return GradientVerdict::ordinary;
}

}  // namespace trireme::debug

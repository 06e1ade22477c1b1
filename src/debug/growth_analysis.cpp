#include "debug/growth_analysis.h"

#include <trireme/core/error.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace trireme::debug {

namespace {

/// The deviation of a median of 16 values is a third of that of the values: this is nine of them.
constexpr double noise_factor = 3;

}  // namespace

GrowthAnalysis::GrowthAnalysis() : GrowthAnalysis(Settings{}) {}
GrowthAnalysis::GrowthAnalysis(const Settings& settings)
    : settings_(settings), highest_before_(-std::numeric_limits<double>::infinity()) {
  check(settings.window >= 3 && settings.windows >= 3,
        "growth is seen over three windows of three");
}

std::optional<GrowthAnalysis::Growth> GrowthAnalysis::add(int64_t step, double value) {
  notes_.push_back({step, value});
  if (++in_window_ < settings_.window) return std::nullopt;
  close_window();
  const std::optional<Growth> found = leak();
  if (!found) return std::nullopt;
  // From here on anew.
  highest_before_ = windows_.back().level;
  windows_.clear();
  notes_.clear();
  return found;
}

void GrowthAnalysis::close_window() {
  std::vector<double> values;
  for (size_t i = notes_.size() - in_window_; i < notes_.size(); ++i)
    values.push_back(notes_[i].value);
  in_window_ = 0;
  Window window{telemetry::median_of(values), std::ranges::min(values), 0,
                notes_[notes_.size() - values.size()].step};
  for (double& value : values) value = std::abs(value - window.level);
  window.noise = 1.4826 * telemetry::median_of(values);  // a standard deviation, if it is normal
  windows_.push_back(window);
  if (windows_.size() <= settings_.windows) return;
  highest_before_ = std::max(highest_before_, windows_.front().level);
  windows_.erase(windows_.begin());
  notes_.erase(notes_.begin(), notes_.begin() + static_cast<std::ptrdiff_t>(settings_.window));
}

std::optional<GrowthAnalysis::Growth> GrowthAnalysis::leak() const {
  if (windows_.size() < settings_.windows) return std::nullopt;
  double noise = 0;
  for (size_t i = 0; i < windows_.size(); ++i) {
    if (i > 0 && (windows_[i].level <= windows_[i - 1].level ||
                  windows_[i].lowest <= windows_[i - 1].lowest))
      return std::nullopt;
    noise = std::max(noise, windows_[i].noise);
  }
  const double total = windows_.back().level - windows_.front().level;
  const double even = total / static_cast<double>(windows_.size() - 1);
  // Growth itself widens the windows: of a straight line nothing is left.
  const double other_noise = std::max(0.0, noise - 0.375 * even);
  if (total <= std::max(settings_.threshold, noise_factor * other_noise)) return std::nullopt;
  if (windows_.back().level <= highest_before_ + settings_.threshold / 2) return std::nullopt;
  // One stair among windows that hardly rise is none.
  size_t rises = 0;
  for (size_t i = 1; i < windows_.size(); ++i)
    rises += windows_[i].level - windows_[i - 1].level > even / 8;
  if (rises + 2 < windows_.size()) return std::nullopt;
  return growth();
}

std::optional<GrowthAnalysis::Growth> GrowthAnalysis::growth() const {
  if (notes_.size() < 3) return std::nullopt;
  std::vector<double> slopes;
  for (size_t i = 0; i < notes_.size(); ++i)
    for (size_t j = i + 1; j < notes_.size(); ++j)
      if (notes_[j].step > notes_[i].step)
        slopes.push_back((notes_[j].value - notes_[i].value) /
                         static_cast<double>(notes_[j].step - notes_[i].step));
  Growth growth{.per_step = telemetry::median_of(slopes),
                .total = notes_.back().value - notes_.front().value,
                .from_step = notes_.front().step,
                .to_step = notes_.back().step};
  if (windows_.size() >= 2) growth.total = windows_.back().level - windows_.front().level;
  return growth;
}

}  // namespace trireme::debug

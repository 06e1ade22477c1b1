#include <trireme/report/growth.h>
#include <trireme/telemetry/statistics.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace trireme::report {
namespace {

// Our own choices; growth_test.cpp has the series they are made for.

/// What the first part of a run adds is its start: caches, pools, lazily made state.
constexpr double start_share = 0.2;
constexpr size_t start_points = 3;
constexpr size_t fewest_points = 16;
constexpr int64_t fewest_steps = 40;
/// In each of these parts of the series the low must be higher than before.
constexpr size_t parts = 4;
/// Less is the noise of allocators and of the kernel's accounting.
constexpr double least_bytes = 16.0 * (1 << 20);
constexpr double least_share = 0.02;
/// Growth that ends gets slower: a logarithm's last quarter has 0.6 of the mean.
constexpr double last_part = 0.75;
/// The points must lie on a line, within this part of what it climbs.
constexpr double most_scatter = 0.25;

/// The median of the slopes of all pairs (Theil 1950, Sen 1968).
double slope_of(std::span<const LowSeries::Point> points) {
  std::vector<double> slopes;
  for (size_t i = 0; i < points.size(); ++i)
    for (size_t j = 0; j < i; ++j)
      slopes.push_back((points[i].value - points[j].value) /
                       static_cast<double>(points[i].step - points[j].step));
  return telemetry::median_of(slopes);
}

double scatter_of(std::span<const LowSeries::Point> points, double slope) {
  std::vector<double> rests;
  for (const LowSeries::Point& point : points)
    rests.push_back(point.value - slope * static_cast<double>(point.step));
  const double middle = telemetry::median_of(rests);
  for (double& rest : rests) rest = std::abs(rest - middle);
  return telemetry::median_of(rests);
}

}  // namespace

void LowSeries::add(int64_t step, double value) {
  if (!points_.empty() && in_last_ < stride_) {
    Point& last = points_.back();
    last.value = std::min(last.value, value);
    last.step = step;
    ++in_last_;
    return;
  }
  if (points_.size() == capacity) {
    for (size_t i = 0; i < capacity / 2; ++i)
      points_[i] = {points_[2 * i + 1].step,
                    std::min(points_[2 * i].value, points_[2 * i + 1].value)};
    points_.resize(capacity / 2);
    stride_ *= 2;
  }
  points_.push_back({step, value});
  in_last_ = 1;
}

std::optional<Growth> steady_growth(std::span<const LowSeries::Point> points) {
  const size_t start =
      std::max(start_points, static_cast<size_t>(start_share * static_cast<double>(points.size())));
  if (points.size() < start + fewest_points) return std::nullopt;
  points = points.subspan(start);
  const auto steps = static_cast<double>(points.back().step - points.front().step);
  if (steps < fewest_steps) return std::nullopt;

  std::array<double, parts> lows{};
  for (size_t part = 0; part < parts; ++part) {
    const size_t begin = part * points.size() / parts, end = (part + 1) * points.size() / parts;
    lows[part] = std::min_element(points.begin() + static_cast<long>(begin),
                                  points.begin() + static_cast<long>(end),
                                  [](const auto& a, const auto& b) { return a.value < b.value; })
                     ->value;
    if (part > 0 && lows[part] <= lows[part - 1]) return std::nullopt;
  }
  const double climbed = lows[parts - 1] - lows[0];
  if (lows[parts - 1] - lows[parts - 2] < last_part * climbed / (parts - 1)) return std::nullopt;
  const double slope = slope_of(points);
  const double rise = slope * steps;
  if (rise < least_bytes || rise < least_share * points.front().value) return std::nullopt;
  if (scatter_of(points, slope) > most_scatter * rise) return std::nullopt;
  return Growth{slope, points.front().step, points.back().step};
}

std::vector<Leak> LeakDetector::observe(std::span<const RankRow> rows, int64_t step) {
  if (ranks_.size() != rows.size()) ranks_.assign(rows.size(), {});
  for (size_t rank = 0; rank < rows.size(); ++rank) {
    ranks_[rank].allocated.add(step, rows[rank][index_of(Item::allocated)]);
    ranks_[rank].rss.add(step, rows[rank][index_of(Item::rss)]);
  }
  if (++windows_ < look_at_) return {};
  look_at_ = windows_ + std::max<int64_t>(1, windows_ / 10);
  std::vector<Leak> news;
  for (const Leak& leak : leaks()) {
    OfRank& rank = ranks_[static_cast<size_t>(leak.rank)];
    bool& told = leak.what == name_of(Item::allocated) ? rank.told_allocated : rank.told_rss;
    if (!told) news.push_back(leak);
    told = true;
  }
  return news;
}

std::vector<Leak> LeakDetector::leaks() const {
  std::vector<Leak> found;
  for (size_t rank = 0; rank < ranks_.size(); ++rank) {
    const auto add = [&](const Growth& growth, Item item) {
      found.push_back({static_cast<int>(rank), name_of(item), growth.per_step, growth.from_step,
                       growth.to_step});
    };
    const std::optional<Growth> tensors = steady_growth(ranks_[rank].allocated.points());
    const std::optional<Growth> resident = steady_growth(ranks_[rank].rss.points());
    if (tensors) add(*tensors, Item::allocated);
    // On a CPU tensors are resident too.
    if (resident && (!tensors || resident->per_step > 2 * tensors->per_step))
      add(*resident, Item::rss);
  }
  return found;
}

}  // namespace trireme::report

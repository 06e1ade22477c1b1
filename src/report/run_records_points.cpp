#include "run_records_points.h"

#include <trireme/core/error.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace trireme::report {
namespace {

void add_extremes(std::span<const double> curve, size_t begin, size_t end,
                  std::vector<size_t>& points) {
  std::optional<size_t> smallest, largest, broken;
  for (size_t i = begin; i < end; ++i) {
    const double value = curve[i];
    if (!std::isfinite(value)) {
      if (!broken) broken = i;
      continue;
    }
    if (!smallest || value < curve[*smallest]) smallest = i;
    if (!largest || value > curve[*largest]) largest = i;
  }
  for (const auto& found : {smallest, largest, broken})
    if (found) points.push_back(*found);
}

}  // namespace

std::vector<size_t> points_to_draw(std::span<const std::span<const double>> curves, size_t limit) {
  check(!curves.empty(), "there is a curve to draw");
  const size_t count = curves[0].size();
  std::vector<size_t> points;
  if (count <= limit) {
    points.resize(count);
    std::iota(points.begin(), points.end(), size_t{0});
    return points;
  }
  const size_t most = 3 * curves.size() + 1;  // of one stretch
  const size_t stretches = std::max<size_t>(1, (limit - std::min<size_t>(limit, 1)) / most);
  for (size_t s = 0; s < stretches; ++s) {
    const size_t begin = count * s / stretches, end = count * (s + 1) / stretches;
    points.push_back(begin);
    for (const auto& curve : curves) add_extremes(curve, begin, end, points);
  }
  points.push_back(count - 1);
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

}  // namespace trireme::report

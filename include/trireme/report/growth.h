#pragma once

#include <trireme/report/rank_row.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace trireme::report {

/// The lows of a quantity over a run of any length, in a bounded number of bins.
class LowSeries {
 public:
  static constexpr size_t capacity = 64;
  struct Point {
    int64_t step = 0;
    double value = 0;
  };
  void add(int64_t step, double value);
  [[nodiscard]] std::span<const Point> points() const { return points_; }

 private:
  std::vector<Point> points_;
  int64_t stride_ = 1;  // values a point
  int64_t in_last_ = 0;
};

struct Growth {
  double per_step = 0;
  int64_t from_step = 0, to_step = 0;
};
/// Steady growth that does not end, if the points show it: not the growth of a start, not steps,
/// nor a saw-tooth of which the points hold a few teeth.
[[nodiscard]] std::optional<Growth> steady_growth(std::span<const LowSeries::Point> points);

/// Memory of one rank that grows with every step.
struct Leak {
  int rank = -1;
  std::string_view what;  ///< allocated (tensors that are kept) or rss
  double bytes_per_step = 0;
  int64_t from_step = 0, to_step = 0;
};

class LeakDetector {
 public:
  /// `rows` by rank, of a window that ends with `step`. Returns leaks that were not known, about as
  /// often as the series got a tenth longer.
  std::vector<Leak> observe(std::span<const RankRow> rows, int64_t step);
  /// What the whole series says now, by rank.
  [[nodiscard]] std::vector<Leak> leaks() const;

 private:
  struct OfRank {
    LowSeries allocated, rss;
    bool told_allocated = false, told_rss = false;
  };
  std::vector<OfRank> ranks_;
  int64_t windows_ = 0;
  int64_t look_at_ = 0;  // the number of windows at which to look next
};

}  // namespace trireme::report

#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace trireme::report {

/// Neighbouring losses put together.
struct LossPoint {
  int64_t step = 0;                                         ///< the last
  double mean = std::numeric_limits<double>::quiet_NaN();  ///< of the finite ones; NaN without any
  int64_t count = 0;
  int64_t not_finite = 0;  ///< of `count`
  int64_t first_not_finite = -1;

  void add(int64_t at, double loss) {
    step = at;
    ++count;
    if (std::isfinite(loss)) {
      const auto finite = static_cast<double>(count - not_finite);
      mean = finite > 1 ? mean + (loss - mean) / finite : loss;
    } else {
      if (not_finite++ == 0) first_not_finite = at;
    }
  }
  void add(const LossPoint& later) {
    const auto mine = static_cast<double>(count - not_finite),
               its = static_cast<double>(later.count - later.not_finite);
    if (its > 0) mean = mine > 0 ? mean + (later.mean - mean) * its / (mine + its) : later.mean;
    if (not_finite == 0) first_not_finite = later.first_not_finite;
    step = later.step;
    count += later.count;
    not_finite += later.not_finite;
  }
};

/// The losses of a run of any length, in at most 256 points of equally many.
class LossCurve {
 public:
  static constexpr size_t capacity = 256;

  void add(int64_t step, double loss) {
    if (points_.empty() || points_.back().count == stride_) {
      if (points_.size() == capacity) {
        for (size_t i = 0; i < capacity / 2; ++i) {
          LossPoint two = points_[2 * i];
          two.add(points_[2 * i + 1]);
          points_[i] = two;
        }
        points_.resize(capacity / 2);
        stride_ *= 2;
      }
      points_.emplace_back();
    }
    points_.back().add(step, loss);
  }
  [[nodiscard]] const std::vector<LossPoint>& points() const { return points_; }

 private:
  std::vector<LossPoint> points_;
  int64_t stride_ = 1;  // losses a point
};

}  // namespace trireme::report

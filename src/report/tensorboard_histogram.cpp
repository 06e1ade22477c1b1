#include <trireme/report/tensorboard.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

namespace trireme::report {
namespace {

/// Upper ends of the buckets, growing: mirrored powers of 1.1 around 0, as in TensorFlow's
/// histograms, whose viewers know them.
const std::vector<double>& bucket_limits() {
  static const std::vector<double> limits = [] {
    std::vector<double> positive;
    for (double limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push_back(limit);
    positive.push_back(std::numeric_limits<double>::max());
    std::vector<double> all;
    for (auto limit = positive.rbegin(); limit != positive.rend(); ++limit) all.push_back(-*limit);
    all.push_back(0);
    all.insert(all.end(), positive.begin(), positive.end());
    return all;
  }();
  return limits;
}

}  // namespace

Histogram::Histogram() : counts_(bucket_limits().size()) {}

void Histogram::add(double value) {
  if (!std::isfinite(value)) {
    ++not_finite_;
    return;
  }
  const std::vector<double>& limits = bucket_limits();
  const auto above = std::upper_bound(limits.begin(), limits.end() - 1, value);
  ++counts_[static_cast<size_t>(above - limits.begin())];
  min_ = count_ == 0 ? value : std::min(min_, value);
  max_ = count_ == 0 ? value : std::max(max_, value);
  ++count_;
  sum_ += value;
  sum_of_squares_ += value * value;
}

Histogram::Buckets Histogram::buckets() const {
  const std::vector<double>& limits = bucket_limits();
  Buckets result;
  for (size_t i = 0; i < counts_.size(); ++i) {
    // An empty bucket only says where the next one begins; the first one begins with min().
    const bool next_counts = i + 1 < counts_.size() && counts_[i + 1] > 0;
    if (counts_[i] == 0 && (!next_counts || result.counts.empty())) continue;
    result.limits.push_back(limits[i]);
    result.counts.push_back(static_cast<double>(counts_[i]));
  }
  return result;
}

}  // namespace trireme::report

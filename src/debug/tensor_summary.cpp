#include "debug/tensor_summary.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace trireme::debug {

namespace {

constexpr int64_t chunk = 1 << 16;
constexpr int64_t lanes = 8;

/// Of one chunk; sums in float64.
struct Part {
  double sum = 0, square_sum = 0;
  double min = std::numeric_limits<double>::infinity();
  double max = -std::numeric_limits<double>::infinity();
  int64_t zeros = 0, nans = 0, infinities = 0;

  void add(const Part& other) {
    sum += other.sum;
    square_sum += other.square_sum;
    min = std::min(min, other.min);
    max = std::max(max, other.max);
    zeros += other.zeros;
    nans += other.nans;
    infinities += other.infinities;
  }
};

/// In lanes, so that the compiler makes vectors of them.
template <class T>
Part part_of(const T* values, int64_t count) {
  using Value = std::conditional_t<std::is_same_v<T, double>, double, float>;
  constexpr Value most = std::numeric_limits<Value>::max();
  Value low[lanes], high[lanes];
  double sums[lanes]{}, squares[lanes]{};
  int32_t zeros[lanes]{}, nans[lanes]{}, finite[lanes]{};
  std::fill(low, low + lanes, std::numeric_limits<Value>::infinity());
  std::fill(high, high + lanes, -std::numeric_limits<Value>::infinity());
  const auto take = [&](int64_t lane, Value value) {
    const bool is_finite = std::abs(value) <= most;  // false for NaN
    const Value counted = is_finite ? value : Value(0);
    sums[lane] += static_cast<double>(counted);
    squares[lane] += static_cast<double>(counted) * static_cast<double>(counted);
    low[lane] = is_finite && value < low[lane] ? value : low[lane];
    high[lane] = is_finite && value > high[lane] ? value : high[lane];
    zeros[lane] += value == Value(0);
    nans[lane] += value != value;
    finite[lane] += is_finite;
  };
  const T* const end = values + count;
  for (; end - values >= lanes; values += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane) take(lane, static_cast<Value>(values[lane]));
  for (; values != end; ++values) take(0, static_cast<Value>(*values));

  Part part;
  int64_t all_finite = 0;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    part.add({.sum = sums[lane],
              .square_sum = squares[lane],
              .min = static_cast<double>(low[lane]),
              .max = static_cast<double>(high[lane]),
              .zeros = zeros[lane],
              .nans = nans[lane]});
    all_finite += finite[lane];
  }
  part.infinities = count - part.nans - all_finite;
  return part;
}

constexpr int64_t block = 512;

/// Of a whole block that is finite and of ordinary sizes, in float32; false if it is not.
template <class T>
bool add_block(const T* values, Part& to) {
  using Floats = float __attribute__((vector_size(32)));
  using Words = int32_t __attribute__((vector_size(32)));
  constexpr int64_t wide = 4;  // independent sums
  Floats sums[wide]{}, squares[wide]{};
  Floats low{}, high{};
  Words zeros{};
  low += std::numeric_limits<float>::max();
  high -= std::numeric_limits<float>::max();
  for (int64_t i = 0; i < block; i += wide * lanes)
    for (int64_t w = 0; w < wide; ++w) {
      Floats x;
      for (int64_t lane = 0; lane < lanes; ++lane)
        x[lane] = static_cast<float>(values[i + w * lanes + lane]);
      sums[w] += x;
      squares[w] += x * x;
      low = x < low ? x : low;
      high = x > high ? x : high;
      zeros -= x == 0;
    }
  Part part;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    for (int64_t w = 0; w < wide; ++w) {
      part.sum += static_cast<double>(sums[w][lane]);
      part.square_sum += static_cast<double>(squares[w][lane]);
    }
    part.min = std::min(part.min, static_cast<double>(low[lane]));
    part.max = std::max(part.max, static_cast<double>(high[lane]));
    part.zeros += zeros[lane];
  }
  // Squares of small values vanish in float32, of large ones they overflow.
  const bool small = part.square_sum < 1e-28 && part.zeros < block;
  if (!std::isfinite(part.sum) || !std::isfinite(part.square_sum) || small) return false;
  to.add(part);
  return true;
}

template <class T>
Part chunk_of(const T* values, int64_t count) {
  if constexpr (std::is_same_v<T, double>) return part_of(values, count);
  Part all;
  int64_t i = 0;
  for (; i + block <= count; i += block)
    if (!add_block(values + i, all)) all.add(part_of(values + i, block));
  all.add(part_of(values + i, count - i));
  return all;
}

template <class T>
Part scan(const at::Tensor& tensor) {
  const T* const values = tensor.const_data_ptr<T>();
  const int64_t count = tensor.numel(), chunks = (count + chunk - 1) / chunk;
  std::vector<Part> parts(static_cast<size_t>(chunks));
  at::parallel_for(0, chunks, 4, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c)
      parts[static_cast<size_t>(c)] =
          chunk_of(values + c * chunk, std::min(chunk, count - c * chunk));
  });
  Part all;
  for (const Part& part : parts) all.add(part);
  return all;
}

Part scan_on_host(const at::Tensor& tensor) {
  const at::Tensor values = tensor.contiguous();
  switch (values.scalar_type()) {
    case at::kFloat:
      return scan<float>(values);
    case at::kBFloat16:
      return scan<at::BFloat16>(values);
    case at::kHalf:
      return scan<at::Half>(values);
    default:
      return scan<double>(values.to(at::kDouble));
  }
}

void fill(TensorSummary& summary, const Part& part) {
  summary.zeros = part.zeros;
  summary.nans = part.nans;
  summary.infinities = part.infinities;
  summary.sum = part.sum;
  summary.square_sum = part.square_sum;
  const bool any = part.min <= part.max;
  summary.min = any ? part.min : 0;
  summary.max = any ? part.max : 0;
}

}  // namespace

double TensorSummary::norm() const {
  return std::sqrt(square_sum);
}
double TensorSummary::mean() const {
  return finite_elements() > 0 ? sum / static_cast<double>(finite_elements()) : 0;
}
double TensorSummary::deviation() const {
  if (finite_elements() == 0) return 0;
  const double variance = square_sum / static_cast<double>(finite_elements()) - mean() * mean();
  return std::sqrt(std::max(0.0, variance));
}
double TensorSummary::root_mean_square() const {
  return finite_elements() > 0 ? std::sqrt(square_sum / static_cast<double>(finite_elements())) : 0;
}
double TensorSummary::max_abs() const {
  return std::max(std::abs(min), std::abs(max));
}
double TensorSummary::share_of_zeros() const {
  return elements > 0 ? static_cast<double>(zeros) / static_cast<double>(elements) : 0;
}

at::Tensor summary_row(const at::Tensor& tensor) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const at::Tensor x = tensor.is_floating_point() ? tensor : tensor.to(at::kDouble);
  const at::Tensor finite = at::isfinite(x);
  const at::Tensor counted = at::where(finite, x, at::zeros({}, x.options()));
  const at::Tensor nans = at::isnan(x).sum();
  const at::Tensor low = at::where(finite, x, at::full({}, infinity, x.options())).amin();
  const at::Tensor high = at::where(finite, x, at::full({}, -infinity, x.options())).amax();
  const at::Tensor norm = at::linalg_vector_norm(counted, 2, std::nullopt, false, at::kDouble);
  return at::stack({(x == 0).sum().to(at::kDouble), nans.to(at::kDouble),
                    (finite.logical_not().sum() - nans).to(at::kDouble),
                    at::sum(counted, at::kDouble), norm * norm, low.to(at::kDouble),
                    high.to(at::kDouble)});
}

size_t SummaryBatch::add(const at::Tensor& tensor) {
  const at::Tensor values =
      tensor.layout() == at::kStrided ? tensor.detach() : tensor.detach().coalesce().values();
  TensorSummary summary;
  summary.elements = values.numel();
  at::Tensor row;
  if (values.numel() > 0 && values.is_cpu())
    fill(summary, scan_on_host(values));
  else if (values.numel() > 0 && !values.is_meta())
    row = summary_row(values);
  const std::lock_guard lock(mutex_);
  summaries_.push_back(summary);
  if (row.defined()) pending_.push_back({summaries_.size() - 1, std::move(row)});
  return summaries_.size() - 1;
}

std::vector<TensorSummary> SummaryBatch::read() {
  const std::lock_guard lock(mutex_);
  if (!pending_.empty()) {
    const at::Device device = pending_.front().row.device();
    std::vector<at::Tensor> rows;
    for (const Pending& one : pending_) rows.push_back(one.row.to(device));
    const at::Tensor host = at::stack(rows).to(at::kCPU);
    for (size_t i = 0; i < pending_.size(); ++i) {
      const double* const v = host.const_data_ptr<double>() + 7 * static_cast<int64_t>(i);
      fill(summaries_[pending_[i].number], {.sum = v[3],
                                            .square_sum = v[4],
                                            .min = v[5],
                                            .max = v[6],
                                            .zeros = static_cast<int64_t>(v[0]),
                                            .nans = static_cast<int64_t>(v[1]),
                                            .infinities = static_cast<int64_t>(v[2])});
    }
    pending_.clear();
  }
  return std::exchange(summaries_, {});
}

void SummaryBatch::clear() {
  const std::lock_guard lock(mutex_);
  summaries_.clear();
  pending_.clear();
}

}  // namespace trireme::debug

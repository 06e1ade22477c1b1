#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include <ATen/core/Tensor.h>

namespace trireme::debug {

/// The elements of a tensor in a few numbers. What is not finite is counted and left out of the
/// rest.
struct TensorSummary {
  int64_t elements = 0;
  int64_t zeros = 0, nans = 0, infinities = 0;
  double sum = 0, square_sum = 0;
  double min = 0, max = 0;  ///< 0 if nothing is finite

  [[nodiscard]] bool finite() const { return nans == 0 && infinities == 0; }
  [[nodiscard]] int64_t finite_elements() const { return elements - nans - infinities; }
  [[nodiscard]] double norm() const;  ///< the 2-norm
  [[nodiscard]] double mean() const;
  [[nodiscard]] double deviation() const;  ///< standard deviation of the population
  [[nodiscard]] double root_mean_square() const;
  [[nodiscard]] double max_abs() const;
  [[nodiscard]] double share_of_zeros() const;
};

/// Summaries that are read together: for tensors on a device that costs one copy, whose wait is the
/// only one. A sparse tensor counts by its values; of one without memory (device meta) only the
/// elements are known. add() may be called on any thread, in a SideScope.
class SummaryBatch {
 public:
  /// The number of its summary in what read() returns.
  size_t add(const at::Tensor& tensor);
  /// Of all since the last call.
  [[nodiscard]] std::vector<TensorSummary> read();
  void clear();

 private:
  struct Pending {
    size_t number;
    at::Tensor row;
  };
  std::mutex mutex_;
  std::vector<TensorSummary> summaries_;
  std::vector<Pending> pending_;
};

/// The same numbers by LibTorch's operations, float64 [7] on the tensor's device: zeros, nans,
/// infinities, sum, square sum, minimum, maximum.
[[nodiscard]] at::Tensor summary_row(const at::Tensor& tensor);

}  // namespace trireme::debug

#pragma once

#include <trireme/guard/config.h>

#include <cstdint>

namespace trireme::guard {

/// So many skipped steps in a row are no accident any more: the run has diverged.
constexpr int64_t skips_until_diverged = 10;

/// Decides about steps whose loss or gradients are not finite. Pure: fed with agreed values it
/// decides the same on all ranks. Skips that a loss scaler makes while it searches its scale are
/// not for this policy.
class NonfinitePolicy {
 public:
  enum class Decision { proceed, skip };
  explicit NonfinitePolicy(const GuardConfig& config, int64_t limit = skips_until_diverged);

  /// `first_rank`: the lowest rank that found something not finite, or -1. Throws kind `diverged`,
  /// naming step and rank, if the run has to end.
  Decision judge(int64_t step, int first_rank);
  [[nodiscard]] int64_t skips_in_a_row() const { return skips_; }

 private:
  bool stop_;
  int64_t limit_;
  int64_t skips_ = 0;
};

}  // namespace trireme::guard

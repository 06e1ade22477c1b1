#include <trireme/core/error.h>
#include <trireme/guard/policy.h>

#include <fmt/format.h>

namespace trireme::guard {

NonfinitePolicy::NonfinitePolicy(const GuardConfig& config, int64_t limit)
    : stop_(config.nonfinite == "stop"), limit_(limit) {
  check(stop_ || config.nonfinite == "skip", "guard.nonfinite is stop or skip");
  check(limit > 0, "the limit of skipped steps is positive");
}

NonfinitePolicy::Decision NonfinitePolicy::judge(int64_t step, int first_rank) {
  if (first_rank < 0) {
    skips_ = 0;
    return Decision::proceed;
  }
  if (stop_) {
    throw Error(ErrorKind::diverged,
                fmt::format("step {}: the loss or a gradient is not finite, first on rank {}", step,
                            first_rank),
                "lower optim.lr or lengthen schedule.warmup_steps and resume; guard.nonfinite: "
                "skip leaves such steps out");
  }
  if (++skips_ < limit_) return Decision::skip;
  throw Error(
      ErrorKind::diverged,
      fmt::format("step {}: {} steps in a row were not finite, the last one first on rank {}", step,
                  skips_, first_rank),
      "the run has diverged: resume from an earlier checkpoint with a lower optim.lr");
}

}  // namespace trireme::guard

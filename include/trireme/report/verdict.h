#pragma once

#include <trireme/report/growth.h>
#include <trireme/report/loss_curve.h>
#include <trireme/report/rank_row.h>
#include <trireme/report/straggler.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme::report {

/// What a run's time mostly goes to, in words, with the numbers behind them.
struct Verdict {
  std::string kind;  ///< diverging | leak | straggler | input-bound | communication-bound |
                     ///< checkpoint-bound | overhead-bound | compute-bound | unknown
  std::string text;
  int rank = -1;  ///< the rank that stands out, -1 if none does
  std::vector<std::pair<std::string, double>>
      evidence;                     ///< shares of the step (0..1), seconds and bytes, by name
  std::vector<std::string> advice;  ///< sentences: what would help, by how much
};

/// What is known of a run besides its times; advice goes by it. Negative, empty: not known.
struct Circumstances {
  int64_t data_workers = -1;     ///< loading threads of a rank
  std::string strategy = {};     ///< parallel.strategy
  std::string reduce_type = {};  ///< precision.reduce
  double bucket_bytes = -1;
  int64_t accumulate = -1;  ///< micro-steps
  std::optional<bool> checkpoint_async = {};
  std::optional<bool> checkpoint_staged = {};
  double memory_capacity = -1;  ///< bytes a rank may allocate
  std::vector<Straggler> stragglers = {};
  std::vector<Leak> leaks = {};
  std::vector<LossPoint> losses = {};  ///< of the windows
  /// Typical seconds of work, by rank; counts where the run is too short for the detector of
  /// stragglers. Empty: the mean rows say it.
  std::vector<double> working_seconds = {};
};

/// From mean rows by rank. A loss that runs away, or is not finite any more, and memory that grows
/// come before all times. In synchronous training a slow rank shows as waiting on all others, so
/// stragglers come first: those of `known`, or of a run of fewer than 50 steps the rank that works
/// 20 % longer; then what takes the largest share of the step, if it is more than it should be.
[[nodiscard]] Verdict judge(std::span<const RankRow> rows, std::span<const std::string> hosts,
                            const Circumstances& known = {});

}  // namespace trireme::report

#pragma once

#include <trireme/report/rank_row.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme::report {

/// What a run's time mostly goes to, in words, with the numbers behind them.
struct Verdict {
  std::string kind;  ///< straggler | input-bound | communication-bound | checkpoint-bound |
                     ///< overhead-bound | compute-bound | unknown
  std::string text;
  int rank = -1;  ///< the rank that stands out, -1 if none does
  std::vector<std::pair<std::string, double>>
      evidence;  ///< shares of the step (0..1) and seconds, by name
};

/// From mean rows by rank. In synchronous training a slow rank shows as waiting on all others, so a
/// straggler is looked for first; then what takes the largest share of the step, if it is more than
/// it should be.
[[nodiscard]] Verdict judge(std::span<const RankRow> rows, std::span<const std::string> hosts);

}  // namespace trireme::report

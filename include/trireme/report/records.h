#pragma once

#include <trireme/core/state.h>
#include <trireme/report/rank_reducer.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

constexpr int record_schema = 1;

/// One logged step, over all ranks.
struct StepMetrics {
  int64_t step = 0;
  int64_t epoch = 0;
  double loss = 0;  ///< weighted mean of this step over all ranks
  double lr = 0;
  double grad_norm = 0;  ///< before clipping
  int64_t samples = 0;   ///< since the start of the run
  int64_t tokens = 0;    ///< likewise; 0 for models without tokens
  double step_seconds = 0;
  double samples_per_second = 0;
  double tokens_per_second = 0;
  int64_t skipped = 0;                             ///< steps left out since the start of the run
  std::optional<double> peak_flops_per_rank = {};  ///< what the device could do, for mfu
};

struct EvalMetrics {
  int64_t step = 0;
  double loss = 0;
  std::vector<std::pair<std::string, double>> metrics;
  int64_t samples = 0;
};

/// What happened: started, resumed, saved, skipped, changed, straggler, leak, preempted, failed,
/// finished.
struct Event {
  std::string name;
  int64_t step = 0;
  std::vector<std::pair<std::string, core::Scalar>> details;
};

/// The records as one line of JSON each, without the newline; numbers that are not finite become
/// null. `goodput` is the share of useful time so far.
[[nodiscard]] std::string metrics_line(const StepMetrics& metrics, const Window& window,
                                       std::span<const std::string> hosts, int64_t attempt,
                                       std::optional<double> goodput = {});
[[nodiscard]] std::string eval_line(const EvalMetrics& metrics, int64_t attempt);
/// One rank's own row of a window that ends with `step`, all items under their names: what rank 0's
/// figures can be computed from again.
[[nodiscard]] std::string rank_line(const RankRow& row, int64_t step, int64_t steps,
                                    int64_t attempt, int rank, std::string_view host);
/// `time` as utc_time() gives it.
[[nodiscard]] std::string event_line(const Event& event, int64_t attempt, std::string_view time);

}  // namespace trireme::report

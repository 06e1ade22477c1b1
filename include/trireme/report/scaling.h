#pragma once

#include <trireme/report/run_paths.h>
#include <trireme/telemetry/phase.h>

#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace trireme::report {

/// What a run on some number of ranks took, in a middle window of its last attempt.
struct ScalingRun {
  std::string path;
  int ranks = 0;
  int hosts = 0;
  int64_t windows = 0;          ///< that were measured
  double samples_per_step = 0;  ///< of all ranks
  double step_seconds = 0;
  double samples_per_second = 0;
  double tokens_per_second = 0;                           ///< 0 without tokens
  std::array<double, telemetry::phase_count> shares{};    ///< of the step, means over the ranks
  std::map<std::string, std::string> configuration = {};  ///< key: value as JSON
};

/// Reads report.json, which knows the ranks, and metrics.jsonl and config.yaml beside it. Kind
/// `input_missing` if one of the first two is absent, `data_damaged` if they tell nothing.
[[nodiscard]] ScalingRun read_scaling_run(const RunPaths& paths);

/// A phase that takes longer than its part of the work explains.
struct ScalingLoss {
  telemetry::Phase phase{};
  double seconds = 0;  ///< of a step, more than explained
  double from_share = 0, to_share = 0;
  double expected_seconds = 0;
};

/// How runs of one training get faster with their ranks.
struct Scaling {
  /// `strong`: all make steps of as many samples; `weak`: each rank has as many in all of them.
  enum class Kind { strong, weak, neither };
  struct Row {
    ScalingRun run;
    double speed_up = 1;    ///< samples a second against the run with the fewest ranks
    double efficiency = 1;  ///< speed_up of each rank
  };
  Kind kind = Kind::neither;
  std::vector<Row> rows;            ///< by ranks
  std::vector<ScalingLoss> losses;  ///< of the last row against the first, the largest first
  std::string text;                 ///< in words
  std::vector<std::string> notes;   ///< why not to believe it: short runs, other differences
  /// Keys whose values differ, by row; what decides the batch and names folders left out.
  std::vector<std::pair<std::string, std::vector<std::string>>> configuration;
};
/// In any order. Kind `usage` if there are not two runs, or two have the same number of ranks.
[[nodiscard]] Scaling scaling_of(std::vector<ScalingRun> runs);

/// A table for a terminal, and its meaning in words.
[[nodiscard]] std::string scaling_text(const Scaling& scaling);
[[nodiscard]] std::string scaling_json(const Scaling& scaling);

}  // namespace trireme::report

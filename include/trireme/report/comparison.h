#pragma once

#include <trireme/report/run_paths.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace trireme::report {

/// One figure of two runs.
struct ComparedFigure {
  /// `too_short`: of fewer than three windows nobody knows how they scatter.
  enum class Verdict { same, better, worse, too_short };
  std::string what;  ///< step_seconds, phases.data, memory.peak, loss, ...
  std::string unit;  ///< s, B, 1/s, 1 or nothing
  double run = 0;
  double baseline = 0;
  double change = 0;  ///< run / baseline - 1; the difference, where the baseline is 0
  double noise = 0;   ///< the change that the runs' own scatter explains
  Verdict verdict = Verdict::same;
};

struct ComparedKey {
  std::string key, run, baseline;  ///< values as JSON, or "absent"
};

struct Comparison {
  std::string run, baseline;  ///< the folders
  double tolerance = 0.05;
  std::vector<ComparedKey> configuration;  ///< keys that differ, without names of folders
  std::vector<ComparedFigure> figures;

  /// Of the losses of steps that both logged.
  int64_t common_steps = 0;
  std::optional<int64_t> first_different_step = {};  ///< in bits; none: all are equal
  double largest_loss_difference = 0;                ///< relative, of finite ones
  int64_t largest_at_step = -1;

  bool regressed = false;  ///< a figure is worse
};

/// Reads config.yaml, metrics.jsonl, report.json and goodput.json of both; what a folder lacks is
/// left out. A figure is better or worse if it differs by more than `tolerance` and by more than
/// noise; goodput, which tells of interruptions, is only shown. Kind `input_missing` if a folder has no metrics, `data_damaged` if they cannot be read.
[[nodiscard]] Comparison compare_runs(const RunPaths& run, const RunPaths& baseline,
                                      double tolerance = 0.05);

/// A table for a terminal.
[[nodiscard]] std::string comparison_text(const Comparison& comparison);
[[nodiscard]] std::string comparison_json(const Comparison& comparison);

}  // namespace trireme::report

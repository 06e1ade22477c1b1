#pragma once

#include <trireme/report/run_paths.h>
#include <trireme/report/top_screen.h>

#include "report/top_tail.h"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>

#include <nlohmann/json.hpp>

namespace trireme::report {

/// What run.lock says, judged by who can.
struct TopHolder {
  bool locked = false;
  bool live = false;
  std::string name;  ///< job, host, process
  std::string why;   ///< it lives, or does not
};

/// Reads what a run leaves behind while it goes on: only what is new, and never much. Files that
/// are absent, half written or damaged are nothing special.
class TopReader {
 public:
  /// Throws kind `input_missing` if the folder is not one of a run.
  explicit TopReader(const std::filesystem::path& run_dir);
  /// `now`: seconds since 1970.
  [[nodiscard]] TopRun read(const TopHolder& holder, double now);
  [[nodiscard]] const RunPaths& paths() const { return paths_; }

 private:
  void read_metrics(TopRun& run, double now);
  void read_evaluation(TopRun& run);
  void read_events(TopRun& run);
  void read_findings(TopRun& run);
  void read_verdict(TopRun& run) const;
  void read_switches(TopRun& run) const;
  void judge(TopRun& run, const TopHolder& holder) const;
  [[nodiscard]] int64_t configured_steps() const;
  [[nodiscard]] double seconds_a_step() const;

  /// When the last record was of which step.
  struct Watched {
    double time;
    int64_t step;
  };

  RunPaths paths_;
  LineTail metrics_, evaluations_, events_, debug_;
  std::deque<nlohmann::json> records_;  // the last ones of metrics.jsonl
  std::deque<Watched> watched_;
  double metrics_modified_ = 0;
  nlohmann::json evaluation_;
  std::deque<nlohmann::json> recent_events_;
  std::deque<std::string> findings_, troubles_;
  int64_t found_at_ = -1;                        // the step of the last digest
  int64_t ranks_ = 0, steps_ = 0, attempt_ = 0;  // as the last start said
};

}  // namespace trireme::report

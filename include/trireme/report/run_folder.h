#pragma once

#include <trireme/report/goodput.h>
#include <trireme/report/growth.h>
#include <trireme/report/history.h>
#include <trireme/report/loss_curve.h>
#include <trireme/report/lost_records.h>
#include <trireme/report/records.h>
#include <trireme/report/run_paths.h>
#include <trireme/report/run_totals.h>
#include <trireme/report/straggler.h>
#include <trireme/storage/append_file.h>
#include <trireme/storage/rotated_file.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

/// Makes run.dir and the folders in it that others write to (logs, control, checkpoints). Rank 0
/// calls it before any rank opens its log. Throws kind `storage` if that fails.
void make_run_folder(const RunPaths& paths);

/// The highest attempt among the last records of the folder; 0 in a new one.
[[nodiscard]] int64_t last_attempt(const RunPaths& paths);

/// What a window brought to light.
struct Findings {
  std::optional<Straggler> straggler = {};
  std::vector<Leak> leaks = {};
};

/// The records of a run, written by rank 0, which holds the run lock. Each record is one appended
/// line. One that cannot be written is lost, with a warning in the log; it does not end the run,
/// leaves no part of a line behind, and the next ones are tried again.
class RunFolder {
 public:
  /// What the state that a run goes on from has seen.
  struct Resumed {
    int64_t step = 0;
    int64_t evaluated = -1;  ///< the step of its last evaluation; the one of `step` may be to come
  };
  /// Opens the folder, which make_run_folder() made, for a new attempt: cuts metrics, evaluations
  /// and debug.jsonl back to `resumed` (without it: to nothing), removes exit.json of the attempt
  /// before and what replace_file() left of it, writes config.yaml. Of the events only the later
  /// `saved`, `skipped`, `profiled`, `straggler` and `leak` go, which are undone; what happened to
  /// attempts (failed, preempted, ...) stays. The records of single ranks are cut by these (see
  /// RankLog), only those of ranks that are no more here. `hosts` by rank. Throws kind `storage`.
  RunFolder(RunPaths paths, std::string_view config_yaml, std::optional<Resumed> resumed,
            std::vector<std::string> hosts);
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  /// Says in the log how many records were lost, if any.
  ~RunFolder();

  [[nodiscard]] int64_t attempt() const { return attempt_; }
  [[nodiscard]] const RunPaths& paths() const { return paths_; }

  /// The first step of the attempt begins now: until here it was start-up.
  void first_step();
  /// Called every few seconds, so that goodput.json tells of a killed run until when it lived. Cheap.
  void alive();
  /// Seconds outside of steps that were an evaluation, or the saving of a checkpoint.
  void evaluation(double seconds);
  void checkpoint(double seconds);
  /// The attempt ends, `done` with all steps made.
  void finish(bool done = true);

  /// Writes a line of metrics.jsonl and adds the window to the report. What it shows is an event
  /// too, and stands in report.json.
  Findings log_metrics(const StepMetrics& metrics, const Window& window);
  void log_eval(const EvalMetrics& metrics);
  void log_event(const Event& event);
  /// Lines of debug.jsonl, which is made with the first one. Of more than 16 MiB the older ones go
  /// to debug.jsonl.1 and on to .3.
  void log_findings(std::span<const std::string> lines);
  /// Replaces report.json by one of all windows so far, if it can be written, and returns its
  /// verdict in words.
  std::string write_report(ReportParts parts = {});
  /// Where the time of all attempts went, so far.
  [[nodiscard]] Goodput goodput() const { return goodput_.totals(); }
  [[nodiscard]] int64_t lost_records() const { return lost_.count(); }

 private:
  void append(storage::AppendFile& file, std::string_view line);
  void save_goodput(bool now);

  std::vector<std::string> hosts_;
  int64_t attempt_;
  RunPaths paths_;  // after attempt_: preparing the folder cuts what the attempt is read from
  GoodputLedger goodput_;
  std::optional<LostRecords::Clock::time_point> goodput_saved_;
  RunTotals totals_;
  History history_;
  StragglerDetector stragglers_;
  LeakDetector leaks_;
  LossCurve losses_;
  storage::AppendFile metrics_;
  storage::AppendFile eval_;
  storage::AppendFile events_;
  storage::RotatedFile debug_;
  LostRecords lost_, lost_findings_;
};

}  // namespace trireme::report

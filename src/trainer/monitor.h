#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <trireme/checkpoint/saver.h>
#include <trireme/comm/world.h>
#include <trireme/data/sampler.h>
#include <trireme/guard/early_stopping.h>
#include <trireme/report/progress_line.h>
#include <trireme/report/rank_reducer.h>
#include <trireme/report/run_folder.h>
#include <trireme/report/unit_reducer.h>
#include <trireme/telemetry/recorder.h>

#include "trainer/control.h"
#include "trainer/step.h"

namespace trireme::trainer {

/// Tells people what the run does: the records of the run folder (rank 0), the progress line, the log. Every rank calls the
/// same functions, since windows of steps are reduced over the ranks; only rank 0 has a folder.
class Monitor {
 public:
  struct Settings {
    int64_t log_every = 10;
    int64_t tokens_per_sample = 0;
  };
  Monitor(const Settings& settings, comm::World& world, telemetry::Recorder& recorder, std::unique_ptr<report::RunFolder> folder);

  void begin(int64_t step, int64_t total_steps, const data::Sampler& sampler);
  /// A step whose numbers the host has just read; logs it if its turn has come.
  void step(const PublishedStep& published, const Agreed& agreed, int64_t skipped);
  void skipped(int64_t step, const std::string& why);
  void evaluated(const report::EvalMetrics& result, const guard::EarlyStopping::Decision& decision);
  /// The end of a save, good or bad.
  void saved(const checkpoint::Saver::Result& result);
  void event(const std::string& name, int64_t step, std::vector<std::pair<std::string, core::Scalar>> details = {});
  /// Warns once about parameters that get no gradient.
  void warn_unused(const std::vector<std::string>& names);
  /// Writes report.json and says where; the end of a run that ended well or on request.
  void finish(int64_t step, const std::vector<report::UnitRow>& units);

 private:
  [[nodiscard]] bool leads() const { return folder_ != nullptr; }

  Settings settings_;
  comm::World& world_;
  telemetry::Recorder& recorder_;
  std::unique_ptr<report::RunFolder> folder_;
  report::RankReducer reducer_;
  report::ProgressLine line_;
  int64_t total_steps_ = 0;
  int64_t logged_step_ = 0;
  int64_t logged_steps_ = 0;
  bool warned_unused_ = false;
  double seconds_per_step_ = 0;  // smoothed, for the time that is left
};

}  // namespace trireme::trainer

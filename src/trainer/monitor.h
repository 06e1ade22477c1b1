#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <trireme/checkpoint/saver.h>
#include <trireme/comm/traced.h>
#include <trireme/comm/world.h>
#include <trireme/data/sampler.h>
#include <trireme/guard/early_stopping.h>
#include <trireme/report/progress_line.h>
#include <trireme/report/prometheus.h>
#include <trireme/report/rank_log.h>
#include <trireme/report/rank_reducer.h>
#include <trireme/report/run_folder.h>
#include <trireme/report/tensorboard.h>
#include <trireme/report/unit_reducer.h>
#include <trireme/telemetry/recorder.h>

#include "trainer/control.h"
#include "trainer/measurements.h"
#include "trainer/step.h"

namespace trireme::trainer {

/// Tells people what the run does: the records of the run folder (rank 0), the progress line, the log. Every rank calls the
/// same functions, since windows of steps are reduced over the ranks; only rank 0 has a folder.
class Monitor {
 public:
  struct Settings {
    telemetry::TelemetryConfig telemetry;
    std::string run;  ///< what the run is called: run.dir
    report::RunPaths paths;
    int64_t attempt = 1;
    std::optional<int64_t> resumed_step = {};
    int64_t tokens_per_sample = 0;
    report::Circumstances known = {};
  };
  Monitor(Settings settings, comm::World& world, telemetry::Recorder& recorder, Measurements& measurements,
          std::unique_ptr<report::RunFolder> folder);

  void begin(int64_t step, int64_t position, int64_t total_steps, const data::Sampler& sampler, const data::Loader& loader);
  /// Figures of a logged step by name; on rank 0, nothing elsewhere.
  using Figures = std::vector<std::pair<std::string, double>>;
  /// A step whose numbers the host has just read. Logs it if its turn has come, and then returns something, on all ranks.
  std::optional<Figures> step(const PublishedStep& published, const Agreed& agreed, int64_t skipped, const data::Loader& loader);
  /// Logs the last step that was read, if it has not been; when the run ends where its turn would not have come.
  std::optional<Figures> last_step(const data::Loader& loader);
  void skipped(int64_t step, const std::string& why);
  void evaluated(const report::EvalMetrics& result, const guard::EarlyStopping::Decision& decision, double seconds);
  /// Outside of steps.
  void saving_took(double seconds);
  /// The end of a save, good or bad.
  void saved(const checkpoint::Saver::Result& result);
  void event(const std::string& name, int64_t step, std::vector<std::pair<std::string, core::Scalar>> details = {});
  /// Lines of debug.jsonl; on rank 0.
  void found(std::span<const std::string> lines);
  /// Whether this rank writes event files for TensorBoard, which is when a histogram goes somewhere.
  [[nodiscard]] bool draws() const { return tensorboard_.has_value(); }
  void histogram(const std::string& tag, std::span<const double> values, int64_t step);
  /// Warns once about parameters that get no gradient.
  void warn_unused(const std::vector<std::string>& names);
  /// Takes the progress line away before something else is said.
  void make_room() { line_.clear(); }
  /// Writes report.json and report.html and says where; the end of a run that ended well or on request. `traffic` is this rank's.
  void finish(int64_t step, const std::vector<report::UnitRow>& units, const std::vector<comm::TrafficRow>& traffic, bool done);
  [[nodiscard]] const Settings& settings() const { return settings_; }

 private:
  [[nodiscard]] bool leads() const { return folder_ != nullptr; }
  /// Numbers of a step.
  struct Read {
    int64_t step = 0, epoch = 0, position = 0, tokens = 0, skipped = 0;
    double loss = 0, lr = 0, grad_norm = 0, loss_scale = 1;
  };
  [[nodiscard]] Figures log_step(const Read& read, const data::Loader& loader);
  void tell(const report::Findings& findings, int64_t step);
  void log(const report::StepMetrics& metrics, const report::Window& window);

  const Settings settings_;
  comm::World& world_;
  telemetry::Recorder& recorder_;
  std::unique_ptr<report::RunFolder> folder_;
  Measurements& measurements_;
  report::RankReducer reducer_;
  std::optional<report::RankLog> rank_log_;
  std::optional<report::TensorBoard> tensorboard_;   // rank 0's, like the next
  std::optional<report::PrometheusFile> prometheus_;
  report::ProgressLine line_;
  int64_t total_steps_ = 0;
  int64_t logged_step_ = 0;
  int64_t logged_position_ = 0;
  Read read_;
  std::chrono::steady_clock::time_point alive_{};
  int64_t logged_steps_ = 0;
  bool warned_unused_ = false;
  double seconds_per_step_ = 0;  // smoothed, for the time that is left
};

}  // namespace trireme::trainer

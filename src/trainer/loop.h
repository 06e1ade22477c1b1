#pragma once

#include <chrono>
#include <deque>
#include <filesystem>
#include <optional>

#include <trireme/comm/world.h>
#include <trireme/data/loader.h>
#include <trireme/guard/early_stopping.h>
#include <trireme/guard/policy.h>
#include <trireme/guard/run_lock.h>
#include <trireme/guard/stop_requests.h>
#include <trireme/telemetry/recorder.h>

#include "trainer/batch_layout.h"
#include "trainer/build.h"
#include "trainer/checkpoints.h"
#include "trainer/device_feed.h"
#include "trainer/control.h"
#include "trainer/debugging.h"
#include "trainer/evaluation.h"
#include "trainer/monitor.h"
#include "trainer/run_state.h"
#include "trainer/step.h"
#include "trainer/trainer.h"
#include "trainer/unit_statistics.h"

namespace trireme::trainer {

/// The steps of a run on one rank, once everything is built and the state is loaded: train, decide late, evaluate, save.
/// Every rank runs the same loop and takes the same turns, since all decisions come from numbers that all ranks have.
class Loop {
 public:
  struct Context {
    const RunConfig& config;
    comm::World& world;
    Parts& parts;
    const DataParts& data;
    const BatchLayout& layout;
    StepGraphs* graphs;  ///< null: every step is eager
    const data::Sampler& sampler;
    int64_t total_steps;
    RunState& state;
    guard::EarlyStopping& early_stopping;
    telemetry::Recorder& recorder;
    UnitStatistics& unit_statistics;
    Monitor& monitor;
    Profiler& profiler;
    Debugging& debugging;
    Checkpoints& checkpoints;
    RunStatus& status;
    const guard::StopSignals& signals;
    const guard::RunLock* lock;     ///< rank 0's, null elsewhere
    std::filesystem::path control;  ///< where rank 0 looks for requests
  };
  explicit Loop(const Context& context);

  /// 0 when all steps are done, 75 after a request to stop with the state saved.
  [[nodiscard]] int run();

 private:
  void train_one_step();
  void decide_oldest();
  void wait_for(const PublishedStep& step) const;
  void decide_all();
  void check_metric() const;
  void judge_nonfinite(const PublishedStep& step, const Agreed& agreed, const std::string& where);
  [[nodiscard]] std::string describe_nonfinite(const PublishedStep& step, const Agreed& agreed) const;
  [[nodiscard]] TrainStep::Votes votes();
  [[nodiscard]] debug::BatchSeen seen_batch(const data::LoadedBatch& batch, double wait_seconds);
  void check_replicas();
  void require_lock();
  void evaluate();
  void show_evaluation(const report::EvalMetrics& result, Evaluation::Here& here, double seconds,
                       const guard::EarlyStopping::Decision& decision);
  void save();
  void begin_save();
  void save_to_the_end();
  void save_outside_of_steps();
  void note_save(const checkpoint::Saver::Result& result, bool must_succeed);
  void before_update();
  [[nodiscard]] bool among_the_best() const;
  [[nodiscard]] double lower_is_better(double metric) const;
  [[nodiscard]] std::vector<checkpoint::Retention::Score> scores() const;
  [[nodiscard]] bool due(const std::optional<int64_t>& every_steps) const;
  [[nodiscard]] double learning_rate() const;

  Context context_;
  comm::Communicator& all_;
  RunState& state_;
  data::Loader loader_;
  DeviceFeed feed_;
  TrainStep step_;
  std::optional<Evaluation> evaluation_;
  guard::NonfinitePolicy nonfinite_;
  int64_t searching_ = 0;  // overflows in a row while a dynamic loss scale looks for its level
  std::deque<PublishedStep> pending_;
  std::chrono::steady_clock::time_point looked_for_requests_{};
  int64_t load_ns_ = 0;         // of the loader when a batch was last looked at,
  int64_t batch_seen_at_ = -2;  // in this step
  int64_t replicas_equal_at_ = 0;
  bool stop_ = false;
  bool early_stop_ = false;
  bool save_due_ = false;
  bool last_save_failed_ = false;
  int64_t last_evaluated_ = -1;
  int64_t last_saved_ = -1;       // or under way, or given up
  int64_t save_stage_began_ = 0;  // steps up to this one say nothing of the stage that the save is in
  std::chrono::steady_clock::time_point last_save_time_ = std::chrono::steady_clock::now();
};

}  // namespace trireme::trainer

#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <trireme/comm/world.h>
#include <trireme/debug/switches.h>
#include <trireme/report/records.h>
#include <trireme/report/run_paths.h>
#include <trireme/report/trace.h>
#include <trireme/telemetry/operator_tracer.h>
#include <trireme/telemetry/profile_config.h>
#include <trireme/telemetry/recorder.h>

namespace trireme::trainer {

/// Records steps of all ranks and writes what was recorded to the run folder: the steps that telemetry.profile names, and those
/// during which one of the two profiling switches is on. One recording is under way at a time: a switch cuts one short, which is
/// written, and while one is on the schedule's recordings are left out. Steps count from 0 here, and from 1 in all that is written.
///
/// All ranks call all functions alike, on the thread of the steps, between steps. What fails on one rank (a full disk, a recorder
/// that refuses, memory) makes all ranks give the recording up, and the schedule and the switches with it; the run goes on. Of the
/// schedule a warning tells, of switches who turned them (take_given_up). Errors of communication are thrown as everywhere.
class Profiler {
 public:
  struct Settings {
    telemetry::ProfileConfig profile;
    std::string trace = "off";  ///< what the schedule records: off, spans, full
    report::RunPaths paths;
    int64_t attempt = 1;
    int64_t keep = 8;         ///< traces of earlier recordings that stay, the newest included
    int64_t keep_files = 10;  ///< of a rank's files in profile/, of each kind
    /// Told of "profiled" and "profile_failed", on all ranks alike.
    std::function<void(const report::Event&)> on_event;
  };
  Profiler(Settings settings, comm::World& world, telemetry::Recorder& recorder, at::Device device);
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  /// Before the recorder's begin_step(), with its step.
  void begin_step(int64_t step);
  /// After the recorder's end_step(). `completed`: steps completed, as for the next two.
  void end_step(int64_t completed);

  /// From the next step on. `here`: whether this rank's operations are recorded; its spans are in any case.
  void start(debug::Switch which, bool here, int64_t completed);
  void finish(debug::Switch which, int64_t completed);
  /// The end of the run: what is under way is written.
  void finish_all(int64_t completed);

  /// A switch whose recording all ranks gave up, which is off.
  struct GivenUp {
    debug::Switch which;
    int64_t since_step = 0;  ///< what start() was told
    std::string why;         ///< what this rank complained of; empty where it did not
  };
  /// Since the last call; equal on all ranks but for `why`.
  [[nodiscard]] std::vector<GivenUp> take_given_up() { return std::exchange(given_up_, {}); }

  /// Whether the step under way is recorded.
  [[nodiscard]] bool recording() const { return recording_ != nullptr; }
  /// Whether operations are recorded, or about to be, on any rank: a step that a device repeats as a graph has none. Equal on all
  /// ranks.
  [[nodiscard]] bool needs_eager_steps() const;

 private:
  struct Recording;
  struct SwitchState {
    bool on = false;
    bool here = false;
    int64_t since_step = 0;
  };
  struct Wish {
    bool operators = false;  ///< on some ranks
    bool here = false;
    bool tensorboard_here = false;
  };

  [[nodiscard]] SwitchState& state(debug::Switch which);
  [[nodiscard]] bool switched_on() const { return operators_.on || tensorboard_.on; }
  [[nodiscard]] Wish wish() const;
  [[nodiscard]] telemetry::OperatorTracer& tracer();
  void prepare();
  void begin(int64_t step, const Wish& wish);
  template <class Action>
  void note(Action action);
  void collect();
  void save_memory_snapshot();
  void write_for_tensorboard(const report::TraceSummary& merged) const;
  void write_operators(const std::vector<std::string>& ranks) const;
  void cut(int64_t completed);
  void sample_memory();
  void drop_surplus() const;
  void wait_for_device() const;
  /// What ranks complain of, all in one text; empty if none does. Equal on all ranks.
  [[nodiscard]] std::string complaints(const std::string& mine);
  void give_up(const std::string& why, std::string mine, int64_t completed);

  const Settings settings_;
  comm::World& world_;
  telemetry::Recorder& recorder_;
  const at::Device device_;

  int64_t steps_seen_ = 0;  // of this attempt
  bool schedule_off_;
  bool warming_up_ = false;
  bool save_after_step_ = false;
  SwitchState operators_, tensorboard_;
  std::vector<GivenUp> given_up_;
  std::unique_ptr<telemetry::OperatorTracer> tracer_;  // made at first use
  std::unique_ptr<Recording> recording_;               // the one under way
};

}  // namespace trireme::trainer

#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <trireme/comm/world.h>
#include <trireme/debug/control.h>
#include <trireme/debug/debugger.h>
#include <trireme/debug/rules.h>

#include "trainer/control.h"
#include "trainer/monitor.h"
#include "trainer/profiler.h"
#include "trainer/step.h"

namespace trireme::trainer {

/// Debug switches in a run: brings what is asked at rank 0 (on the command line, by rules) to all ranks, which switch at the same step
/// boundary, and what the ranks find to rank 0. All ranks call the same functions, except where it says rank 0.
class Debugging {
 public:
  Debugging(const RunConfig& config, debug::Subject subject, comm::World& world, Monitor& monitor, Profiler& profiler);

  [[nodiscard]] debug::Debugger& tools() { return debugger_; }
  [[nodiscard]] bool active() const { return debugger_.active(); }
  /// Whether the next step must not be repeated as a graph.
  [[nodiscard]] bool needs_eager_steps() const { return debugger_.needs_eager_steps() || profiler_.needs_eager_steps(); }

  /// What the configuration enables; `step` steps are complete.
  void begin(int64_t step);
  /// Rank 0: looks for requests from outside.
  void look();
  /// Rank 0: whether there are requests for all ranks, to be said in the control vector once.
  [[nodiscard]] bool vote();
  /// Before a step, after all ranks have read in the control vector that there is something: takes it to all.
  void note_agreed() { due_ = true; }
  void begin_step(int64_t step);
  /// After it; `step` steps are complete.
  void end_step(int64_t step);
  /// The numbers of a step some steps back; at rank 0 the rules see them.
  void decided(const PublishedStep& published, const Agreed& agreed, int64_t skipped, std::span<const std::string> metric_names);
  /// At a logged step, whose figures rules go by until the next: findings to rank 0.
  void log(int64_t step, const Monitor::Figures& figures);
  /// Findings to rank 0.
  void tell(int64_t step);
  /// Switches everything off; the last findings.
  void finish(int64_t step);

 private:
  void apply(const debug::Request& request, int64_t step);
  void follow(const debug::Debugger::Change& change, int64_t step);
  /// Switches off what the profiler gave up.
  void settle();
  void observe(const debug::Decided& seen);
  void write_status(int64_t step, bool running);
  [[nodiscard]] bool leads() const { return world_.rank() == 0; }

  const RunConfig& config_;
  comm::World& world_;
  Monitor& monitor_;
  Profiler& profiler_;
  debug::Debugger debugger_;
  // Rank 0's:
  std::optional<debug::ControlFolder> control_;
  std::optional<debug::Rules> rules_;
  Monitor::Figures logged_;  // of the last logged step
  std::vector<debug::Request> asked_;
  std::string status_;  // as written
  bool voted_ = false;

  bool due_ = false;
  bool gave_up_ = false;  // since findings went to rank 0
};

}  // namespace trireme::trainer

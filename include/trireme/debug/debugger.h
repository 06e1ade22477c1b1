#pragma once

#include <trireme/debug/request.h>
#include <trireme/debug/tool.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// The switches of one rank. All ranks hold the same table of what is on where, since they apply
/// the same requests at the same steps; the tools live on the chosen ranks only. On the thread of
/// the steps; the journals that it gives its tools are callable from any thread.
///
/// From C++ apply() is the way to switch, too:
///   debugger.apply({.switches = {Switch::gradient_norms}, .ranks = {3}, .steps = 20,
///                   .origin = "my program"}, steps_done);
///
/// Order of calls, all ranks alike except where it says rank 0:
///   start        apply() of requests_of(config); rank 0: ControlFolder::write_status()
///   between steps  rank 0: ControlFolder::take() and Rules::observe(); to_lines() of both goes to
///                all ranks, which apply() each of parse_lines()
///   a step       begin_step, batch, {loss}, gradients, updated, end_step; then expire()
///   a log point  if has_digest(): gather digest() to rank 0, which calls heard() and
///                digest_summary() and writes debug.jsonl and the status
class Debugger {
 public:
  struct Settings {
    Subject subject;
    std::string host;
    std::filesystem::path logs;  ///< logs/debug of the run folder: <switch>.rank003.jsonl, rotated
    bool refuse = false;         ///< run.profile: production
    int64_t attempt = 0;
  };
  using MakeTool = std::function<std::unique_ptr<Tool>(Switch, const Subject&, Journal&)>;
  explicit Debugger(Settings settings, MakeTool make = make_tool);
  /// Logs on this rank's console what no digest has told: that of a run that failed.
  ~Debugger();
  Debugger(const Debugger&) = delete;
  Debugger& operator=(const Debugger&) = delete;

  /// What differs after the call. A switch that was on already and is enabled again is in `on`: it
  /// begins anew with the new ranks and steps. Profilers among them are the caller's business.
  struct Change {
    std::vector<Switch> on, off;
  };
  /// All ranks call with the same requests at the same step boundary. What cannot be met is refused
  /// on all ranks alike, with a warning at rank 0 and in answers of status_json(). `step`: steps
  /// completed. Tools that fail to begin are off here, on all other ranks the switch is on.
  /// Profilers without steps record default_profile_steps.
  Change apply(const Request& request, int64_t step);
  /// Answers a request that will not be applied, e.g. since the run ends: nothing else changes, so
  /// ranks need not agree.
  void refuse(const Request& request, const std::string& why);
  /// Switches off what has had its steps. All ranks call after each step; the same on all.
  Change expire(int64_t step) { return entries_.empty() ? Change{} : expire_due(step); }

  // Equal on all ranks:
  [[nodiscard]] bool active() const { return !entries_.empty(); }  ///< anything is on, anywhere
  [[nodiscard]] bool on(Switch which) const;                       ///< anywhere
  [[nodiscard]] std::vector<Switch> switches_on() const;           ///< anywhere
  /// Whether this step must not be repeated as a graph. Profilers do not count.
  [[nodiscard]] bool needs_eager_steps() const;

  /// A switch that is on: where and how long.
  struct Placement {
    std::vector<int> ranks;  ///< empty: all
    int64_t since_step = 0;  ///< steps that were completed when it was switched on
    std::optional<int64_t> until_step = {};
    int64_t every_steps = 1;
    std::string origin = {};
  };
  [[nodiscard]] const Placement* placement(Switch which) const;  ///< null: it is off

  [[nodiscard]] bool on_here(Switch which) const;  ///< on this rank, and not failed
  /// A profiler that was on since that step has been given up on all ranks, which all call: it is
  /// off, unless it has begun anew since. `why`: what this rank complained of; empty where it did
  /// not. The next digest tells of it.
  void given_up(Switch which, int64_t since_step, const std::string& why);

  /// Whether a tool that lives here makes something of gradients() or updated().
  [[nodiscard]] bool reads_gradients() const;

  // The moments of a step, for the tools that live here; one branch where none does.
  void begin_step(int64_t step) {  ///< counted from 1
    if (living_ > 0 || in_step_) tell_begin_step(step);
  }
  void batch(const BatchSeen& seen) { tell(&Tool::batch, seen); }
  void loss(const LossSeen& seen) { tell(&Tool::loss, seen); }
  void gradients(const GradientsSeen& seen) { tell(&Tool::gradients, seen); }
  void updated(const UpdateSeen& seen) { tell(&Tool::updated, seen); }
  void end_step() {
    if (in_step_) tell_end_step();
  }
  void decided(const Decided& seen) { tell(&Tool::decided, seen); }
  void evaluated(const EvaluationSeen& seen) { tell(&Tool::evaluated, seen); }
  void stopping(const StoppingSeen& seen) { tell(&Tool::stopping, seen); }

  /// Whether something was on since the last digest(): equal on all ranks.
  [[nodiscard]] bool has_digest() const;
  /// What this rank found since the last call, as one line of JSON:
  /// {switch: {"digest": {...}, "findings": [...], "left_out": 0, "failed": "why", "since_step":
  /// 7}}
  [[nodiscard]] std::string digest();
  /// At rank 0, the digests of all ranks in their order: what has failed where, for the status.
  void heard(std::span<const std::string> by_rank);

  /// {"step": ..,
  ///  "switches": {name: {"ranks": "all" | [..], "since_step": .., "until_step": .. | null,
  ///                      "every_steps": .., "origin": "..", "failed_ranks": {"3": "why"}}},
  ///  "failed": {name: {"since_step": .., "failed_ranks": {"3": "why"}}}: of those that are off
  ///  now,
  ///                                                                     until they are on again
  ///  "answers": {id: {"accepted": true, "text": ".."}}}: of the last 32 requests with an id
  [[nodiscard]] std::string status_json(int64_t step) const;

 private:
  struct Entry;
  struct Shared;
  [[nodiscard]] Entry* find(Switch which) const;
  void enable(Switch which, const Request& request, int64_t step);
  void begin(Entry& entry);
  void turn_off(Switch which);
  void fail(Entry& entry, const std::string& why);
  void tell_failure(Switch which, const std::string& why) const;
  void tell_untold();
  void answer(const Request& request, bool accepted, const std::string& text);
  Change expire_due(int64_t step);
  void tell_begin_step(int64_t step);
  void tell_end_step();
  void leave_step();
  void tell_each(const std::function<void(Tool&)>& call);
  template <class Seen>
  void tell(void (Tool::*moment)(const Seen&), const Seen& seen) {
    if (living_ > 0) tell_each([&](Tool& tool) { (tool.*moment)(seen); });
  }

  std::unique_ptr<Shared> shared_;
  std::vector<std::unique_ptr<Entry>> entries_;  // what is on anywhere, by switch
  int living_ = 0;                               // tools here that have not failed
  bool in_step_ = false;                         // tools were told of a step's begin
};

}  // namespace trireme::debug

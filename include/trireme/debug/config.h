#pragma once

#include <trireme/core/error.h>
#include <trireme/debug/request.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// What is wrong with the condition of a rule, with the column; nothing if it can be read.
[[nodiscard]] std::optional<Error> condition_problem(std::string_view when);
[[nodiscard]] std::vector<std::string> all_switch_names();
/// Whether one of the names is a profiler's.
[[nodiscard]] bool names_profiler(const std::vector<std::string>& names);

struct RuleConfig {
  std::string when;
  int64_t steps = 10;
  std::vector<std::string> enable;
  std::optional<std::vector<int64_t>> ranks;

  template <class B>
  void bind(B& b) {
    b.key("when", when)
        .doc(
            "condition on the figures of a step, e.g. grad_norm > 10 or loss not finite; "
            "names: loss, grad_norm, lr, loss_scale, skipped, step, step_seconds, "
            "samples_per_second, rss, allocated and the metrics of the model; mean(x) is the mean "
            "of about 100 logged values, last(x) the one before");
    if (const std::optional<Error> problem = condition_problem(when))
      b.refuse("when", problem->message(), problem->hint());
    b.key("for", steps).doc("how long the switches stay on").unit("steps").at_least(1);
    b.key("enable", enable)
        .doc("debug switches to turn on when the condition becomes true")
        .one_of(all_switch_names());
    if (steps > most_profile_steps && names_profiler(enable))
      b.refuse("for", "a profiler keeps in memory what it records",
               "give at most " + std::to_string(most_profile_steps) + " steps");
    if (enable.empty()) b.refuse("enable", "the rule turns nothing on", "name a debug switch");
    b.key("ranks", ranks).doc("where; null: on all ranks").at_least(0);
  }
};

struct DebugConfig {
  std::vector<std::string> enable;
  std::optional<std::vector<int64_t>> ranks;
  int64_t every_steps = 10;
  std::vector<RuleConfig> rules;

  template <class B>
  void bind(B& b) {
    b.key("enable", enable)
        .doc(
            "debug switches that are on from the start, profilers for 10 steps; trireme debug RUN "
            "turns them while it runs")
        .one_of(all_switch_names());
    b.key("ranks", ranks)
        .doc("where the switches of enable are on; null: on all ranks")
        .at_least(0);
    b.key("every_steps", every_steps)
        .doc("how often switches of enable and of rules look that read whole tensors")
        .unit("steps")
        .at_least(1);
    b.key("rules", rules).doc("switches that turn on by what the run's figures do");
  }
};

/// Ascending, each once; empty means all.
[[nodiscard]] std::vector<int> ranks_of(const std::optional<std::vector<int64_t>>& listed);

/// What a start with this configuration enables: one request or none.
[[nodiscard]] std::vector<Request> requests_of(const DebugConfig& config);

/// Error of kind `configuration` if a run of so many ranks, or of run.profile: production, cannot
/// start with this.
void check_start(const DebugConfig& config, int ranks, bool production);

}  // namespace trireme::debug

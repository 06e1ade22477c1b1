#pragma once

#include <trireme/core/error.h>
#include <trireme/debug/config.h>
#include <trireme/debug/request.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::debug {

/// What every observation of a run has; the metrics of its model come to them.
constexpr std::array<std::string_view, 10> rule_names{
    "loss",         "grad_norm",          "lr",  "loss_scale", "skipped", "step",
    "step_seconds", "samples_per_second", "rss", "allocated"};

/// Debugging on conditions: switches that are turned on by what the run's figures do, such as
/// "grad_norm > 10 or loss not finite" or "loss > 2 * mean(loss)". Rank 0 has one and passes the
/// requests on to all ranks; the others have none.
class Rules {
 public:
  /// Error of kind `configuration` for a condition that cannot be read or a switch that there is
  /// not; DebugConfig has checked both.
  explicit Rules(const DebugConfig& config);
  ~Rules();
  Rules(const Rules&) = delete;
  Rules& operator=(const Rules&) = delete;

  /// The figures of one logged step, by name; each call must bring the same names. `on`: the
  /// switches that are on now (Debugger::switches_on()). Returns what rules ask whose condition
  /// holds and did not at the call before; of their switches only those that are not on.
  ///
  /// mean(x) is the exponential mean of the finite x of earlier calls, with the weights of a span
  /// of 100; last(x) the x of the call before; both NaN at the first call.
  ///
  /// A rule with a name that is not among the figures is off from then on; see problems().
  [[nodiscard]] std::vector<Request> observe(
      std::span<const std::pair<std::string, double>> figures, std::span<const Switch> on);

  [[nodiscard]] bool empty() const { return rules_.empty(); }
  /// Why rules are off; each was logged as a warning, too.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }

 private:
  struct Rule;
  struct Past;
  void refuse_unknown_names(Rule& rule, std::span<const std::pair<std::string, double>> figures);
  std::vector<std::unique_ptr<Rule>> rules_;
  std::unique_ptr<Past> past_;
  int64_t every_steps_;
  bool names_known_ = false;
  std::vector<std::string> problems_;
};

}  // namespace trireme::debug

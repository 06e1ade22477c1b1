#include "debug/described.h"
#include "debug/tools.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

std::string reason_of(const StoppingSeen& seen) {
  if (!std::isfinite(seen.value) && !seen.stop)
    return fmt::format("{} is not finite, which is no improvement (best {:.6g} at step {})",
                       seen.metric, seen.best, seen.best_step);
  if (seen.improved) return fmt::format("{} {:.6g} is the best so far", seen.metric, seen.value);
  const std::string unimproved = fmt::format("{} {:.6g} did not improve on {:.6g} of step {}",
                                             seen.metric, seen.value, seen.best, seen.best_step);
  if (seen.stop)
    return fmt::format("{}, for {} evaluations in a row, which is the patience", unimproved,
                       seen.waited);
  if (seen.patience < 0) return unimproved + "; no patience is set, so it never stops";
  return fmt::format("{}; {} of {} evaluations waited", unimproved, seen.waited, seen.patience);
}

/// Each decision whether to stop early, and why.
class EarlyStoppingLog final : public Tool {
 public:
  explicit EarlyStoppingLog(Journal& journal) : journal_(journal) {}

  void stopping(const StoppingSeen& seen) override {
    const std::string reason = reason_of(seen);
    json fields{{"evaluated_step", seen.step},
                {"metric", seen.metric},
                {"value", seen.value},
                {"best", seen.best},
                {"best_step", seen.best_step},
                {"waited", seen.waited},
                {"patience", seen.patience < 0 ? json() : json(seen.patience)},
                {"improved", seen.improved},
                {"decision", seen.stop ? "stop" : "go on"},
                {"reason", reason}};
    digest_ = fields;
    journal_.record(std::move(fields));
    if (seen.stop) journal_.finding(fmt::format("step {}: training stops: {}", seen.step, reason));
    if (!std::isfinite(seen.value))
      journal_.finding(fmt::format("step {}: {} is not finite", seen.step, seen.metric));
  }

  json digest() override { return std::exchange(digest_, json::object()); }

 private:
  Journal& journal_;
  json digest_ = json::object();
};

}  // namespace

ToolPtr make_early_stopping(const Subject&, Journal& journal) {
  return std::make_unique<EarlyStoppingLog>(journal);
}

}  // namespace trireme::debug

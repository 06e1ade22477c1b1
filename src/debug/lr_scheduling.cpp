#include "debug/described.h"
#include "debug/seldom.h"
#include "debug/tools.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

namespace {

using nlohmann::json;

constexpr double jump = 10;
constexpr int64_t zero_steps = 3;  // in a row; a warm-up may begin at 0

/// The learning rate of each step, how it changed, and whether the step took place.
class LrScheduling final : public Tool {
 public:
  LrScheduling(const Subject& subject, Journal& journal) : journal_(journal) {
    json facts = json::object();
    for (const auto& [name, value] : subject.facts) facts[name] = value;
    if (facts.contains("schedule")) schedule_ = facts["schedule"];
    journal_.record({{"schedule", schedule_}, {"facts", std::move(facts)}});
  }

  /// Comes of every step, also of those that a device repeats as a graph. The schedule goes by
  /// steps, whether they are left out or not.
  void decided(const Decided& seen) override {
    step_ = seen.step;
    left_out_ += seen.left_out;
    const double change = last_ ? seen.lr - *last_ : 0;
    const char* const direction = !last_       ? "first"
                                  : change > 0 ? "up"
                                  : change < 0 ? "down"
                                               : "same";
    journal_.record({{"decided_step", seen.step},
                     {"lr", seen.lr},
                     {"change", change},
                     {"direction", direction},
                     {"schedule", schedule_},
                     {"left_out", seen.left_out}});
    zeros_ = seen.lr > 0 ? 0 : zeros_ + 1;
    if (!(seen.lr >= 0) || std::isinf(seen.lr))
      tell("unsound", fmt::format("the learning rate is {}", seen.lr));
    else if (zeros_ == zero_steps)
      tell("zero", fmt::format("the learning rate has been 0 for {} steps, while training goes on",
                               zeros_));
    if (last_ && *last_ > 0 && seen.lr > 0 && std::max(seen.lr / *last_, *last_ / seen.lr) > jump)
      tell("jump", fmt::format("the learning rate jumps from {:.4g} to {:.4g}", *last_, seen.lr));
    last_ = seen.lr;
    lowest_ = std::min(lowest_.value_or(seen.lr), seen.lr);
    highest_ = std::max(highest_.value_or(seen.lr), seen.lr);
    numbers_ = {{"step", step_},      {"lr", seen.lr},        {"direction", direction},
                {"lowest", *lowest_}, {"highest", *highest_}, {"schedule", schedule_}};
  }

  json digest() override {
    json all = std::exchange(numbers_, json::object());
    if (!all.empty()) all["left_out"] = left_out_;
    lowest_.reset();
    highest_.reset();
    return all;
  }

 private:
  void tell(const char* subject, const std::string& text) {
    if (seldom_.due(subject, step_)) journal_.finding(fmt::format("step {}: {}", step_, text));
  }

  Journal& journal_;
  json schedule_;
  int64_t step_ = 0, zeros_ = 0, left_out_ = 0;
  std::optional<double> last_, lowest_, highest_;
  Seldom seldom_;
  json numbers_ = json::object();
};

}  // namespace

ToolPtr make_lr_scheduling(const Subject& subject, Journal& journal) {
  return std::make_unique<LrScheduling>(subject, journal);
}

}  // namespace trireme::debug

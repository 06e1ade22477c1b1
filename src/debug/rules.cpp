#include <trireme/core/log.h>
#include <trireme/debug/rules.h>

#include "config/nearest.h"
#include "debug/expression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

using Figures = std::span<const std::pair<std::string, double>>;

// Of an exponential mean over a span of N values, as pandas and technical analysis define it:
// each value weighs 1 - 2 / (N + 1) of its successor.
constexpr double decay = 1.0 - 2.0 / (100.0 + 1.0);
constexpr double nothing_yet = std::numeric_limits<double>::quiet_NaN();

const double* find(Figures figures, std::string_view name) {
  const auto found = std::ranges::find(figures, name, &std::pair<std::string, double>::first);
  return found == figures.end() ? nullptr : &found->second;
}

}  // namespace

struct Rules::Rule {
  Expression condition;
  std::vector<Switch> enable;
  std::vector<int> ranks;
  int64_t steps;
  bool held = false;
  bool off = false;
};

/// The earlier values of each name.
struct Rules::Past {
  struct Series {
    double weighted_sum = 0;
    double weights = 0;
    double last = nothing_yet;
  };
  std::map<std::string, Series, std::less<>> series;

  [[nodiscard]] double read(Expression::Reading reading, std::string_view name) const {
    const auto found = series.find(name);
    if (found == series.end()) return nothing_yet;
    const Series& one = found->second;
    if (reading == Expression::Reading::last) return one.last;
    return one.weights > 0 ? one.weighted_sum / one.weights : nothing_yet;
  }

  void add(Figures figures) {
    for (const auto& [name, value] : figures) {
      Series& one = series[name];
      one.last = value;
      if (!std::isfinite(value)) continue;  // one NaN would stay in the mean for ever
      one.weighted_sum = decay * one.weighted_sum + value;
      one.weights = decay * one.weights + 1;
    }
  }
};

Rules::Rules(const DebugConfig& config)
    : past_(std::make_unique<Past>()), every_steps_(config.every_steps) {
  for (const RuleConfig& rule : config.rules)
    rules_.push_back(
        std::make_unique<Rule>(Rule{.condition = Expression::parse(rule.when),
                                    .enable = switches_named(rule.enable, ErrorKind::configuration),
                                    .ranks = ranks_of(rule.ranks),
                                    .steps = rule.steps}));
}

Rules::~Rules() = default;

void Rules::refuse_unknown_names(Rule& rule, Figures figures) {
  for (const std::string& name : rule.condition.names()) {
    if (find(figures, name) != nullptr) continue;
    std::vector<std::string> known;
    for (const auto& [figure, value] : figures) known.push_back(figure);
    const std::string near = config::nearest(name, known);
    problems_.push_back(fmt::format(
        "debug rule '{}' is off: column {}: there is no '{}'{}; names: {}", rule.condition.text(),
        rule.condition.column_of(name), name,
        near.empty() ? "" : fmt::format(", did you mean '{}'?", near), fmt::join(known, ", ")));
    log::warning("{}", problems_.back());
    rule.off = true;
    return;
  }
}

std::vector<Request> Rules::observe(Figures figures, std::span<const Switch> on) {
  if (rules_.empty()) return {};
  if (!names_known_)
    for (const auto& rule : rules_) refuse_unknown_names(*rule, figures);
  names_known_ = true;

  const Expression::Values values = [&](Expression::Reading reading, std::string_view name) {
    if (reading != Expression::Reading::now) return past_->read(reading, name);
    const double* value = find(figures, name);
    return value == nullptr ? nothing_yet : *value;
  };
  std::vector<Request> requests;
  std::vector<Switch> taken(on.begin(), on.end());
  for (const auto& rule : rules_) {
    if (rule->off) continue;
    const bool held = std::exchange(rule->held, rule->condition.holds(values));
    if (held || !rule->held) continue;
    Request request{.ranks = rule->ranks,
                    .steps = rule->steps,
                    .every_steps = every_steps_,
                    .origin = "rule: " + rule->condition.text()};
    for (const Switch which : rule->enable)
      if (std::ranges::find(taken, which) == taken.end()) request.switches.push_back(which);
    taken.insert(taken.end(), request.switches.begin(), request.switches.end());
    if (!request.switches.empty()) requests.push_back(std::move(request));
  }
  past_->add(figures);
  return requests;
}

}  // namespace trireme::debug

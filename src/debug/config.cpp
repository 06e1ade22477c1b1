#include <trireme/debug/config.h>

#include "debug/expression.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

void check_listed(const std::optional<std::vector<int64_t>>& listed, int ranks,
                  const std::string& key) {
  for (const int64_t rank : listed.value_or(std::vector<int64_t>{}))
    if (rank < 0 || rank >= ranks)
      throw Error(ErrorKind::configuration,
                  fmt::format("{}: there is no rank {}: the run has {}", key, rank, ranks),
                  ranks == 1 ? "the only rank is 0" : fmt::format("ranks are 0 to {}", ranks - 1));
}

}  // namespace

std::optional<Error> condition_problem(std::string_view when) {
  try {
    (void)Expression::parse(when);
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

std::vector<std::string> all_switch_names() {
  return {switch_names.begin(), switch_names.end()};
}

bool names_profiler(const std::vector<std::string>& names) {
  return std::ranges::any_of(names, [](const std::string& name) {
    const std::optional<Switch> which = switch_named(name);
    return which && is_profiler(*which);
  });
}

std::vector<Request> requests_of(const DebugConfig& config) {
  if (config.enable.empty()) return {};
  Request request{.switches = switches_named(config.enable, ErrorKind::configuration),
                  .every_steps = config.every_steps,
                  .origin = "configuration"};
  request.ranks = ranks_of(config.ranks);
  return {request};
}

std::vector<int> ranks_of(const std::optional<std::vector<int64_t>>& listed) {
  std::vector<int> ranks;
  for (const int64_t rank : listed.value_or(std::vector<int64_t>{}))
    ranks.push_back(static_cast<int>(std::min<int64_t>(rank, std::numeric_limits<int>::max())));
  std::ranges::sort(ranks);
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

void check_start(const DebugConfig& config, int ranks, bool production) {
  if (production && !(config.enable.empty() && config.rules.empty()))
    throw Error(ErrorKind::configuration,
                fmt::format("debug.{} is set, and run.profile is production, which refuses debug "
                            "switches",
                            config.enable.empty() ? "rules" : "enable"),
                "remove it, or set run.profile to development");
  check_listed(config.ranks, ranks, "debug.ranks");
  for (size_t i = 0; i < config.rules.size(); ++i)
    check_listed(config.rules[i].ranks, ranks, fmt::format("debug.rules[{}].ranks", i));
}

}  // namespace trireme::debug

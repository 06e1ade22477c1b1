#include <trireme/core/error.h>
#include <trireme/debug/run_status.h>

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::debug {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t schema = 1;
constexpr const char* no_status = "control/debug.status.json cannot be read: it is no status";
constexpr const char* other_version = "use the trireme that the run was started with";

/// The member `key` of an object if it is there and not null; else what is given.
template <class T>
T member(const Json& json, const char* key, T otherwise) {
  if (!json.is_object()) throw Error(ErrorKind::environment, no_status, other_version);
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? otherwise : found->get<T>();
}

RunStatus::On one_switch(const std::string& name, const Json& json) {
  RunStatus::On on{.name = name,
                   .since_step = member<int64_t>(json, "since_step", 0),
                   .every_steps = member<int64_t>(json, "every_steps", 1),
                   .origin = member<std::string>(json, "origin", "")};
  if (const auto ranks = json.find("ranks"); ranks != json.end() && ranks->is_array())
    on.ranks = ranks->get<std::vector<int>>();
  if (const auto until = json.find("until_step"); until != json.end() && !until->is_null())
    on.until_step = until->get<int64_t>();
  on.failed_ranks = member<std::map<std::string, std::string>>(json, "failed_ranks", {});
  return on;
}

}  // namespace

const RunStatus::On* RunStatus::find(std::string_view name) const {
  const auto found = std::ranges::find(switches, name, &On::name);
  return found == switches.end() ? nullptr : &*found;
}

RunStatus parse_status(std::string_view text) {
  try {
    const Json json = Json::parse(text);
    if (const auto found = member<int64_t>(json, "schema", schema); found != schema)
      throw Error(ErrorKind::environment,
                  fmt::format("control/debug.status.json has schema {}, not {}", found, schema),
                  other_version);
    RunStatus status{.attempt = member<int64_t>(json, "attempt", 0),
                     .step = member<int64_t>(json, "step", -1),
                     .running = member(json, "running", false),
                     .switches = {},
                     .failed = {}};
    if (const auto switches = json.find("switches"); switches != json.end())
      for (const auto& [name, item] : switches->items())
        status.switches.push_back(one_switch(name, item));
    if (const auto failed = json.find("failed"); failed != json.end())
      for (const auto& [name, item] : failed->items())
        status.failed.push_back(
            {.name = name,
             .since_step = member<int64_t>(item, "since_step", 0),
             .ranks = member<std::map<std::string, std::string>>(item, "failed_ranks", {})});
    return status;
  } catch (const Json::exception& damaged) {
    throw Error(ErrorKind::environment,
                fmt::format("control/debug.status.json cannot be read: {}", damaged.what()),
                other_version);
  }
}

std::string why_nothing_is_on(const RunStatus& status, int64_t attempt) {
  if (status.attempt < attempt)
    return fmt::format(
        "the last status is of attempt {}, while attempt {} runs, which has told none yet",
        status.attempt, attempt);
  return status.running ? "" : "the run has ended, or has not begun its steps";
}

}  // namespace trireme::debug

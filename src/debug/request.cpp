#include <trireme/debug/request.h>

#include "config/nearest.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::debug {
namespace {

using Json = nlohmann::ordered_json;

const std::vector<std::string> keys{"id",    "action",      "switches", "ranks",
                                    "steps", "every_steps", "origin"};

std::string did_you_mean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::string near = config::nearest(word, candidates);
  return near.empty() ? "" : fmt::format("did you mean '{}'? ", near);
}

Error bad(const std::string& what, const std::string& hint) {
  return Error(ErrorKind::usage, "debug request: " + what, hint);
}

int64_t integer_of(const Json& json, std::string_view key, int64_t lowest, int64_t highest) {
  const std::string hint = highest == std::numeric_limits<int64_t>::max()
                               ? fmt::format("give a whole number of at least {}", lowest)
                               : fmt::format("give whole numbers from {} to {}", lowest, highest);
  if (!json.is_number_integer())
    throw bad(fmt::format("{} is {}, not a whole number", key, json.dump()), hint);
  // Unsigned beyond int64 would wrap.
  const bool huge = json.is_number_unsigned() &&
                    json.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()};
  if (huge || json.get<int64_t>() < lowest || json.get<int64_t>() > highest)
    throw bad(fmt::format("{} {} is out of range", key, json.dump()), hint);
  return json.get<int64_t>();
}

std::string text_of(const Json& json, std::string_view key) {
  if (!json.is_string()) throw bad(fmt::format("{} is no text", key), "put it in quotes");
  return json.get<std::string>();
}

const Json& list_of(const Json& json, std::string_view key) {
  if (!json.is_array()) throw bad(fmt::format("{} is no list", key), "put it in brackets: [...]");
  return json;
}

Request::Action action_of(const Json& json) {
  const std::string text = text_of(json, "action");
  if (text == "enable") return Request::Action::enable;
  if (text == "disable") return Request::Action::disable;
  throw bad(fmt::format("action '{}' is unknown", text), "it is enable or disable");
}

std::vector<int> ranks_of(const Json& json) {
  std::vector<int> ranks;
  for (const Json& rank : list_of(json, "ranks"))
    ranks.push_back(
        static_cast<int>(integer_of(rank, "ranks", 0, std::numeric_limits<int>::max())));
  std::ranges::sort(ranks);
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  return ranks;
}

std::vector<Switch> switches_of(const Json& json) {
  std::vector<std::string> names;
  for (const Json& name : list_of(json, "switches")) names.push_back(text_of(name, "switches"));
  return switches_named(names, ErrorKind::usage);
}

}  // namespace

std::string to_text(const Request& request) {
  const bool enable = request.action == Request::Action::enable;
  Json json{{"id", request.id}, {"action", enable ? "enable" : "disable"}};
  json["switches"] = Json::array();
  for (const Switch which : request.switches) json["switches"].push_back(name_of(which));
  if (enable) {
    json["ranks"] = request.ranks;
    json["steps"] = request.steps ? Json(*request.steps) : Json();
    json["every_steps"] = request.every_steps;
  }
  json["origin"] = request.origin;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Request parse_request(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    throw bad("it is no JSON object", "use 'trireme debug RUN enable ...', which writes one");
  for (const auto& [key, value] : json.items())
    if (std::ranges::find(keys, key) == keys.end())
      throw bad(fmt::format("unknown key '{}'", key),
                fmt::format("{}keys: {}", did_you_mean(key, keys), fmt::join(keys, ", ")));
  Request request;
  if (!json.contains("action")) throw bad("it has no action", "it is enable or disable");
  request.action = action_of(json["action"]);
  const bool enable = request.action == Request::Action::enable;
  if (json.contains("id")) request.id = text_of(json["id"], "id");
  if (json.contains("origin")) request.origin = text_of(json["origin"], "origin");
  if (json.contains("switches")) request.switches = switches_of(json["switches"]);
  if (enable && request.switches.empty())
    throw bad("it names no switch to enable", fmt::format("{}", fmt::join(switch_names, ", ")));
  for (const char* key : {"ranks", "steps", "every_steps"})
    if (!enable && json.contains(key))
      throw bad(fmt::format("disable takes no {}", key), "it switches off on all ranks at once");
  const auto given = [&](const char* key) {
    return json.contains(key) && !json[key].is_null();
  };
  constexpr int64_t highest = std::numeric_limits<int64_t>::max();
  if (given("ranks")) request.ranks = ranks_of(json["ranks"]);
  if (given("steps")) request.steps = integer_of(json["steps"], "steps", 1, most_steps);
  if (given("every_steps"))
    request.every_steps = integer_of(json["every_steps"], "every_steps", 1, highest);
  return request;
}

std::string to_lines(std::span<const Request> requests) {
  std::string lines;
  for (const Request& request : requests) lines += to_text(request) + '\n';
  return lines;
}

std::vector<Request> parse_lines(std::string_view lines) {
  std::vector<Request> requests;
  while (!lines.empty()) {
    const size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    if (!line.empty()) requests.push_back(parse_request(line));
    lines.remove_prefix(end == std::string_view::npos ? lines.size() : end + 1);
  }
  return requests;
}

std::vector<Switch> switches_named(const std::vector<std::string>& names, ErrorKind kind) {
  std::vector<Switch> switches;
  for (const std::string& name : names) {
    const std::optional<Switch> which = switch_named(name);
    if (!which) {
      const std::vector<std::string> all(switch_names.begin(), switch_names.end());
      throw Error(kind, fmt::format("there is no debug switch '{}'", name),
                  fmt::format("{}switches: {}", did_you_mean(name, all), fmt::join(all, ", ")));
    }
    if (std::ranges::find(switches, *which) == switches.end()) switches.push_back(*which);
  }
  return switches;
}

void check_ranks(const Request& request, int ranks, ErrorKind kind) {
  for (const int rank : request.ranks)
    if (rank < 0 || rank >= ranks)
      throw Error(kind, fmt::format("there is no rank {}: the run has {}", rank, ranks),
                  ranks == 1 ? "leave the ranks out: there is only rank 0"
                             : fmt::format("ranks are 0 to {}", ranks - 1));
}

std::string ranks_text(std::span<const int> ranks) {
  if (ranks.empty()) return "all ranks";
  if (ranks.size() == 1) return fmt::format("rank {}", ranks[0]);
  return fmt::format("ranks {} and {}", fmt::join(ranks.first(ranks.size() - 1), ", "),
                     ranks.back());
}

}  // namespace trireme::debug

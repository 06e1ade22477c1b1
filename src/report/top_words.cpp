#include "report/top_words.h"

#include "report/json_in.h"
#include "report/top_line.h"

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using Json = nlohmann::json;

std::string on_rank(int64_t rank, const std::string& host) {
  return fmt::format("rank {}{}", rank, host.empty() ? "" : " on " + host);
}

/// "all ranks", "ranks 3, 5"
std::string ranks_text(const Json& ranks) {
  if (!ranks.is_array()) return "all ranks";
  std::string list;
  for (const Json& rank : ranks)
    if (rank.is_number_integer())
      list += fmt::format("{}{}", list.empty() ? "" : ", ", rank.get<int64_t>());
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", list);
}

}  // namespace

const Json& at(const Json& json, std::string_view key) {
  static const Json null;
  const auto found = json.is_object() ? json.find(key) : json.end();
  return found != json.end() ? *found : null;
}

double number(const Json& json, std::string_view key) {
  const Json& value = at(json, key);
  return value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

int64_t integer(const Json& json, std::string_view key, int64_t absent) {
  return integer_in(json, key).value_or(absent);
}

std::string text(const Json& json, std::string_view key) {
  const Json& value = at(json, key);
  return value.is_string() ? value.get<std::string>() : "";
}

std::string event_text(const Json& event) {
  std::string result = fmt::format("{} at step {}", text(event, "event"), integer(event, "step"));
  std::string details;
  for (const auto& [name, value] : event.items()) {
    constexpr std::array own{"schema", "attempt", "time", "event", "step"};
    if (std::find(own.begin(), own.end(), name) != own.end()) continue;
    const std::string shown = value.is_string() ? value.get<std::string>()
                              : value.is_number_float()
                                  ? fmt::format("{:.4g}", value.get<double>())
                                  : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    details += fmt::format("{}{} {}", details.empty() ? ": " : ", ", name, shown);
  }
  return result + details;
}

std::string trouble_text(const Json& event) {
  const std::string rank = on_rank(integer(event, "rank", -1), text(event, "host"));
  const int64_t since = integer(event, "from_step");
  if (text(event, "event") == "leak")
    return fmt::format("memory ({}) of {} grows by {} a step since step {}", text(event, "what"),
                       rank, short_bytes(number(event, "bytes_per_step")), since);
  return fmt::format("{} is {:.0f} % slower than the others since step {}, mostly in {}", rank,
                     100 * number(event, "excess"), since, text(event, "section"));
}

std::string finding_text(const Json& digest, const Json& finding) {
  return fmt::format("step {} {}, {}: {}", integer(digest, "step"), text(digest, "switch"),
                     on_rank(integer(finding, "rank", -1), text(finding, "host")),
                     text(finding, "text"));
}

std::string switch_text(const std::string& name, const Json& state) {
  std::string shown = fmt::format("{}, {}", name, ranks_text(at(state, "ranks")));
  if (const std::optional<int64_t> until = integer_in(state, "until_step"))
    shown += fmt::format(", until step {}", *until);
  for (const auto& [rank, why] : at(state, "failed_ranks").items())
    shown +=
        fmt::format(", failed on rank {}: {}", rank, why.is_string() ? why.get<std::string>() : "");
  return shown;
}

std::string exit_text(const Json& exit) {
  return fmt::format("code {} ({}) at step {} of {}: {}", integer(exit, "code"), text(exit, "kind"),
                     integer(exit, "step"), on_rank(integer(exit, "rank"), text(exit, "host")),
                     text(exit, "message"));
}

}  // namespace trireme::report

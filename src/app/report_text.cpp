#include "app/report_text.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <trireme/report/plain_text.h>
#include <trireme/report/progress_line.h>
#include <trireme/telemetry/phase.h>

#include "report/json_in.h"

namespace trireme::app {
namespace {

using nlohmann::json;

constexpr size_t shown_ranks = 5;
constexpr size_t shown_sections = 10;
constexpr size_t shown_operators = 10;

/// What lies at a path of keys; null where there is nothing.
const json& at(const json& object, std::initializer_list<std::string_view> keys) {
  static const json null;
  const json* here = &object;
  for (const std::string_view key : keys) {
    const auto found = here->is_object() ? here->find(key) : here->end();
    if (found == here->end()) return null;
    here = &*found;
  }
  return *here;
}

std::optional<double> number(const json& object, std::initializer_list<std::string_view> keys) { return report::number_in(object, keys); }

std::string text(const json& object, std::initializer_list<std::string_view> keys) {
  const json& found = at(object, keys);
  return found.is_string() ? report::plain_text(found.get<std::string>()) : "";
}

std::string number_text(const json& value) { return value.is_number() ? value.dump() : "-"; }

std::string seconds(std::optional<double> value) {
  if (!value) return "-";
  if (*value < 1e-3) return fmt::format("{:.1f} us", *value * 1e6);
  if (*value < 1) return fmt::format("{:.2f} ms", *value * 1e3);
  return *value < 120 ? fmt::format("{:.2f} s", *value) : report::short_time(*value);
}

std::string mebibytes(std::optional<double> value) { return value ? fmt::format("{:.1f} MiB", *value / (1 << 20)) : "-"; }
std::string percent(std::optional<double> value) { return value ? fmt::format("{:.1f} %", *value * 100) : "-"; }

/// "rank 3 on n2"
std::string rank_of(const json& spread) {
  const auto rank = number(spread, {"max_rank"});
  if (!rank || *rank < 0) return "";
  const std::string host = text(spread, {"max_host"});
  return fmt::format("rank {:.0f}{}", *rank, host.empty() ? "" : " on " + host);
}

std::string state_text(const json& records) {
  const std::string state = text(records, {"state"});
  std::string line = fmt::format("run {}: {}", text(records, {"path"}), state);
  const json& columns = at(records, {"metrics", "columns"});
  if (const json& steps = at(columns, {"step"}); steps.is_array() && !steps.empty()) line += fmt::format(", step {}", number_text(steps.back()));
  const json& losses = at(columns, {"loss"});
  if (losses.is_array() && !losses.empty() && losses.back().is_number()) line += fmt::format(", loss {:.4f}", losses.back().get<double>());
  line += "\n";
  if (state != "finished" && !text(records, {"exit", "message"}).empty()) {
    line += fmt::format("  {}\n", text(records, {"exit", "message"}));
    if (const std::string hint = text(records, {"exit", "hint"}); !hint.empty()) line += fmt::format("  hint: {}\n", hint);
  }
  if (state == "lost") line += "  it ended without exit.json: killed, or its machine was lost\n";
  for (const json& one : at(records, {"unread"}))
    if (one.is_string()) line += fmt::format("  {}\n", report::plain_text(one.get<std::string>()));
  return line;
}

std::string verdict_text(const json& records) {
  const std::string words = text(records, {"report", "verdict", "text"});
  if (words.empty()) return fmt::format("\nNo verdict: {}.\n", at(records, {"metrics", "lines"}) == 0 ? "no step was measured" : "report.json has none");
  std::string all = fmt::format("\n{}{}\n", words, at(records, {"estimated"}) == true ? fmt::format("  (estimated: {})", text(records, {"note"})) : "");
  const json& advice = at(records, {"report", "verdict", "advice"});
  if (advice.is_array())
    for (const json& one : advice)
      if (one.is_string()) all += fmt::format("  - {}\n", report::plain_text(one.get<std::string>()));
  return all;
}

std::string phases_text(const json& report) {
  const json& phases = at(report, {"phases"});
  if (!phases.is_object() || phases.empty()) return "";
  const auto step = number(report, {"step_seconds", "mean"});
  std::string all = fmt::format("\n{:<14}{:>12}{:>9}{:>12}  {}\n", "phase", "mean", "share", "most", "on");
  for (const std::string_view name : telemetry::phase_names) {
    const json& spread = at(phases, {name});
    const auto mean = number(spread, {"mean"});
    if (!mean || (*mean == 0 && number(spread, {"max"}).value_or(0) == 0)) continue;
    all += fmt::format("{:<14}{:>12}{:>9}{:>12}  {}\n", name, seconds(mean), step && *step > 0 ? percent(*mean / *step) : "-",
                       seconds(number(spread, {"max"})), rank_of(spread));
  }
  all += fmt::format("{:<14}{:>12}\n", "step", seconds(step));
  if (const json& peak = at(report, {"memory", "peak"}); peak.is_object())
    all += fmt::format("peak memory {}  {}\n", mebibytes(number(peak, {"max"})), rank_of(peak));
  if (const auto goodput = number(report, {"goodput", "goodput"})) all += fmt::format("goodput {}\n", percent(goodput));
  return all;
}

std::string ranks_text(const json& report) {
  const json& ranks = at(report, {"ranks"});
  if (!ranks.is_array() || ranks.size() < 2) return "";
  std::vector<std::pair<double, const json*>> by_work;
  for (const json& rank : ranks)
    by_work.emplace_back(number(rank, {"step_seconds"}).value_or(0) - number(rank, {"phases", "comm_exposed"}).value_or(0), &rank);
  std::stable_sort(by_work.begin(), by_work.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string all = fmt::format("\n{:<14}{:>12}{:>13}{:>15}{:>15}  {}\n", "slowest rank", "working", "waits: data", "waits: others", "peak memory", "host");
  for (size_t i = 0; i < std::min(shown_ranks, by_work.size()); ++i) {
    const auto& [work, rank] = by_work[i];
    all += fmt::format("{:<14}{:>12}{:>13}{:>15}{:>15}  {}\n", number_text(at(*rank, {"rank"})), seconds(work), seconds(number(*rank, {"phases", "data"})),
                       seconds(number(*rank, {"phases", "comm_exposed"})), mebibytes(number(*rank, {"memory", "peak"})), text(*rank, {"host"}));
  }
  return all;
}

std::string sections_text(const json& report) {
  const json& rows = at(report, {"sections"});
  if (!rows.is_array() || rows.empty()) return "";
  std::string all = fmt::format("\n{:<28}{:>10}{:>12}{:>12}{:>15}  {}\n", "section", "calls", "mean", "most", "peak memory", "on");
  for (size_t i = 0; i < std::min(shown_sections, rows.size()); ++i) {
    const auto peak = number(rows[i], {"memory_peak", "max"});
    all += fmt::format("{:<28}{:>10.0f}{:>12}{:>12}{:>15}  {}\n", report::plain_text(text(rows[i], {"name"}), 27), number(rows[i], {"calls"}).value_or(0),
                       seconds(number(rows[i], {"seconds", "mean"})), seconds(number(rows[i], {"seconds", "max"})),
                       peak ? "+" + mebibytes(peak) : "-", rank_of(at(rows[i], {"seconds"})));
  }
  return all;
}

std::string operators_text(const json& records) {
  const json& rows = at(records, {"operators", "operators"});
  if (!rows.is_array() || rows.empty()) return "";
  std::string all = fmt::format("\n{:<44}{:>10}{:>12}{:>9}\n", "operator", "calls", "self time", "share");
  for (size_t i = 0; i < std::min(shown_operators, rows.size()); ++i) {
    const json& calls = at(rows[i], {"calls"});
    const auto number_of_calls = calls.is_object() ? number(calls, {"mean"}) : number(rows[i], {"calls"});
    const auto self = number(rows[i], {"self_seconds", "mean"});
    all += fmt::format("{:<44}{:>10}{:>12}{:>9}\n", report::plain_text(text(rows[i], {"name"}), 43), number_of_calls ? fmt::format("{:.0f}", *number_of_calls) : "-",
                       seconds(self ? self : number(rows[i], {"self_seconds"})), percent(number(rows[i], {"share"})));
  }
  return all;
}

}  // namespace

std::string report_text(const json& records) {
  const json& report = at(records, {"report"});
  return state_text(records) + verdict_text(records) + phases_text(report) + ranks_text(report) + sections_text(report) + operators_text(records);
}

}  // namespace trireme::app

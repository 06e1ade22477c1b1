#include "run_records_report.h"

#include <trireme/report/history.h>
#include <trireme/report/verdict.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {
namespace {

// Our own choice, so that the page of 512 ranks stays below 3 MiB.
constexpr size_t most_ranks = 1024;
constexpr size_t most_units = 300;
constexpr size_t most_sections = 300;
constexpr size_t most_rows = 200;
constexpr size_t most_history_values = 240'000;

/// Keeps the first rows; how many were left out goes beside them.
void cut(Json& report, const std::string& key, size_t most) {
  const auto found = report.find(key);
  if (found == report.end() || !found->is_array() || found->size() <= most) return;
  const size_t left_out = found->size() - most;
  found->erase(found->begin() + static_cast<std::ptrdiff_t>(most), found->end());
  report[key + "_left_out"] = left_out;
}

/// One bin of the ranks' values from several: the largest for memory, else the mean.
Json merged(const Json& bins, size_t begin, size_t end, bool largest) {
  std::vector<double> values;
  std::vector<int> counts;
  for (size_t bin = begin; bin < end && bin < bins.size(); ++bin) {
    if (!bins[bin].is_array()) continue;
    values.resize(std::max(values.size(), bins[bin].size()));
    counts.resize(values.size());
    for (size_t rank = 0; rank < bins[bin].size(); ++rank) {
      if (!bins[bin][rank].is_number()) continue;
      const auto value = bins[bin][rank].get<double>();
      values[rank] = largest ? std::max(values[rank], value) : values[rank] + value;
      ++counts[rank];
    }
  }
  Json ranks = Json::array();
  for (size_t rank = 0; rank < values.size(); ++rank) {
    if (counts[rank] == 0)
      ranks.push_back(nullptr);
    else
      ranks.push_back(largest ? values[rank] : values[rank] / counts[rank]);
  }
  return ranks;
}

bool is_zero(const Json& bins) {
  for (const Json& bin : bins)
    for (const Json& value : bin)
      if (value.is_number() && value.get<double>() != 0) return false;
  return true;
}

bool is_shown(std::string_view name) {
  const auto& phases = telemetry::phase_names;
  return std::find(phases.begin(), phases.end(), name) != phases.end() ||
         std::any_of(history_items.begin(), history_items.end(),
                     [name](Item item) { return name == name_of(item); });
}

/// Leaves out what nobody looks at and what is nothing, then merges as many neighbouring bins as it
/// takes.
void fit_history(Json& history) {
  if (!history.is_object() || !history.contains("items") || !history["items"].is_object()) return;
  Json items = Json::object();
  for (auto& [name, bins] : history["items"].items())
    if (bins.is_array() && is_shown(name) && !is_zero(bins)) items[name] = std::move(bins);
  size_t values = 0;
  for (const Json& bins : items)
    for (const Json& bin : bins) values += bin.size();
  const size_t stride = (values + most_history_values - 1) / most_history_values;
  if (stride > 1) {
    for (auto& [name, bins] : items.items()) {
      const bool largest =
          name == "allocated" || name == "reserved" || name == "peak" || name == "rss";
      Json fewer = Json::array();
      for (size_t bin = 0; bin < bins.size(); bin += stride)
        fewer.push_back(merged(bins, bin, bin + stride, largest));
      bins = std::move(fewer);
    }
    Json steps = Json::array();
    const Json all = history.value("steps", Json::array());
    for (size_t bin = 0; bin < all.size(); bin += stride)
      steps.push_back(all[std::min(bin + stride, all.size()) - 1]);
    history["steps"] = std::move(steps);
  }
  history["items"] = std::move(items);
  round_numbers(history, 4);
}

Json spread_over_lines(const Columns& metrics, const std::string& name, bool largest) {
  const auto over = [&](const std::string& column) {
    double sum = 0, most = 0;
    int64_t count = 0;
    for (const double value : metrics.column(column)) {
      if (!std::isfinite(value)) continue;
      sum += value, most = std::max(most, value), ++count;
    }
    return largest ? most : count > 0 ? sum / static_cast<double>(count) : 0;
  };
  Json spread = {{"mean", over(name)}, {"max", over(name + "/max")}};
  if (!largest) return spread;
  const std::vector<double>& max = metrics.column(name + "/max");
  const std::vector<double>& rank = metrics.column(name + "/max_rank");
  size_t best = max.size();
  for (size_t i = 0; i < max.size(); ++i)
    if (std::isfinite(max[i]) && (best == max.size() || max[i] > max[best])) best = i;
  if (best < rank.size() && std::isfinite(rank[best])) {
    spread["max_rank"] = static_cast<int64_t>(rank[best]);
    spread["max_host"] = metrics.host_of_most(name);
  }
  return spread;
}

bool ends_with(const std::string& name, std::string_view end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

}  // namespace

Json shortened_report(Json report) {
  if (!report.is_object()) return nullptr;
  Json history = report.value("history", Json());
  report.erase("history");
  round_numbers(report, 6);
  fit_history(history);
  if (history.is_object()) report["history"] = std::move(history);
  cut(report, "ranks", most_ranks);
  cut(report, "units", most_units);
  cut(report, "sections", most_sections);
  for (const char* key : {"communication", "stragglers", "leaks"}) cut(report, key, most_rows);
  return report;
}

Json estimated_report(const Columns& metrics) {
  if (metrics.lines() == 0) return nullptr;
  Json phases = Json::object(), memory = Json::object();
  RankRow mean{};
  for (const std::string& name : metrics.names()) {
    if (ends_with(name, "/max") || ends_with(name, "/max_rank")) continue;
    if (name.starts_with("phases/")) {
      const std::string phase = name.substr(7);
      phases[phase] = spread_over_lines(metrics, name, false);
      for (size_t i = 0; i < telemetry::phase_count; ++i)
        if (phase == telemetry::phase_names[i]) mean[i] = phases[phase]["mean"].get<double>();
    }
    if (name.starts_with("memory/"))
      memory[name.substr(7)] = spread_over_lines(metrics, name, true);
  }
  const Json step = spread_over_lines(metrics, "step_seconds", false);
  mean[index_of(Item::step_seconds)] = step["mean"].get<double>();
  mean[index_of(Item::steps)] = 1;
  const Verdict verdict = judge(std::array<RankRow, 1>{mean}, {});
  Json report = {{"step_seconds", {{"mean", step["mean"]}}},
                 {"phases", std::move(phases)},
                 {"memory", std::move(memory)},
                 {"verdict", {{"kind", verdict.kind}, {"text", verdict.text}}}};
  round_numbers(report, 6);
  return report;
}

}  // namespace trireme::report

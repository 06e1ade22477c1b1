#include <trireme/core/error.h>
#include <trireme/report/records.h>
#include <trireme/report/run_totals.h>
#include <trireme/report/verdict.h>

#include "json.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::report {
namespace {

using telemetry::Phase;

Json rank_json(const RankRow& row, size_t rank, std::span<const std::string> hosts) {
  const auto at = [&row](Item item) {
    return row[index_of(item)];
  };
  const double step = at(Item::step_seconds);
  const double data = row[index_of(Phase::data)];
  Json phases;
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    phases[std::string(telemetry::phase_names[i])] = row[i];
  return {{"rank", rank},
          {"host", rank < hosts.size() ? hosts[rank] : ""},
          {"steps", static_cast<int64_t>(at(Item::steps))},
          {"step_seconds", step},
          {"phases", phases},
          {"memory",
           {{"allocated", at(Item::allocated)},
            {"reserved", at(Item::reserved)},
            {"peak", at(Item::peak)},
            {"rss", at(Item::rss)},
            {"peak_ever", at(Item::peak_ever)}}},
          {"communication",
           {{"busy_seconds", at(Item::comm_busy_seconds)},
            {"exposed_seconds", row[index_of(Phase::comm_exposed)]},
            {"hidden_seconds", at(Item::comm_hidden_seconds)},
            {"bytes", at(Item::comm_bytes)},
            {"calls", at(Item::comm_calls)}}},
          {"data_wait", {{"seconds", data}, {"share", step > 0 ? data / step : 0.0}}}};
}

Json verdict_json(const Verdict& verdict, std::span<const std::string> hosts) {
  Json evidence = Json::object();
  for (const auto& [name, value] : verdict.evidence) evidence[name] = value;
  Json json = {
      {"kind", verdict.kind}, {"text", verdict.text}, {"rank", nullptr}, {"host", nullptr}};
  if (verdict.rank >= 0) {
    json["rank"] = verdict.rank;
    const std::string_view host = host_of(verdict.rank, hosts);
    if (!host.empty()) json["host"] = host;
  }
  json["evidence"] = std::move(evidence);
  json["advice"] = verdict.advice;
  return json;
}

Json sections_json(std::span<const SectionSpread> sections, std::span<const std::string> hosts) {
  Json all = Json::array();
  for (const SectionSpread& one : sections)
    all.push_back({{"name", one.name},
                   {"category", telemetry::name_of(one.category)},
                   {"ranks", one.ranks},
                   {"calls", one.calls},
                   {"seconds", spread_json(one.seconds, hosts)},
                   {"memory_delta", spread_json(one.memory_delta, hosts)},
                   {"memory_peak", spread_json(one.memory_peak, hosts)}});
  return all;
}

Json units_json(std::span<const UnitSpread> units, std::span<const std::string> hosts) {
  Json all = Json::array();
  for (const UnitSpread& unit : units)
    all.push_back({{"name", unit.row.name},
                   {"bytes",
                    {{"parameters", unit.row.parameters_bytes},
                     {"gradients", unit.row.gradients_bytes},
                     {"optimizer", unit.row.optimizer_bytes},
                     {"buffers", unit.row.buffers_bytes}}},
                   {"activations_bytes", spread_json(unit.activations_bytes, hosts)},
                   {"forward_seconds", spread_json(unit.forward_seconds, hosts)},
                   {"backward_seconds", spread_json(unit.backward_seconds, hosts)}});
  return all;
}

Json traffic_json(std::span<const TrafficSpread> rows, std::span<const std::string> hosts) {
  Json all = Json::array();
  for (const TrafficSpread& row : rows)
    all.push_back({{"group", row.group},
                   {"operation", row.operation},
                   {"ranks", row.ranks},
                   {"calls", row.calls},
                   {"bytes", row.bytes},
                   {"busy_seconds", row.busy_seconds},
                   {"waited_seconds", row.waited_seconds},
                   {"bytes_per_second", spread_json(row.bytes_per_second, hosts)}});
  return all;
}

Json stragglers_json(std::span<const Straggler> stragglers, std::span<const std::string> hosts) {
  Json all = Json::array();
  for (const Straggler& one : stragglers)
    all.push_back({{"rank", one.rank},
                   {"host", host_of(one.rank, hosts)},
                   {"section", telemetry::name_of(one.section)},
                   {"excess", one.excess},
                   {"seconds", one.seconds},
                   {"from_step", one.from_step},
                   {"to_step", one.to_step}});
  return all;
}

Json leaks_json(std::span<const Leak> leaks, std::span<const std::string> hosts) {
  Json all = Json::array();
  for (const Leak& one : leaks)
    all.push_back({{"rank", one.rank},
                   {"host", host_of(one.rank, hosts)},
                   {"what", one.what},
                   {"bytes_per_step", one.bytes_per_step},
                   {"from_step", one.from_step},
                   {"to_step", one.to_step}});
  return all;
}

Json forecast_json(const std::optional<MemoryKinds>& forecast) {
  if (!forecast) return nullptr;
  // What a batch needs is not always told before the run.
  const auto known = [](double bytes) {
    return bytes > 0 ? Json(bytes) : Json();
  };
  return {{"parameters", forecast->parameters},
          {"gradients", forecast->gradients},
          {"optimizer", forecast->optimizer},
          {"buffers", forecast->buffers},
          {"activations", known(forecast->activations)},
          {"batches", known(forecast->batches)}};
}

/// What others wrote down as text; null where that is no JSON.
Json parsed(std::string_view text) {
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? Json() : json;
}

}  // namespace

void RunTotals::add(const Window& window) {
  if (ranks_.empty()) ranks_.resize(window.rows.size());
  check(ranks_.size() == window.rows.size(), "all windows of a run have the same ranks");
  for (size_t rank = 0; rank < ranks_.size(); ++rank) ranks_[rank].add(window.rows[rank]);
}

std::vector<RankRow> RunTotals::rows() const {
  std::vector<RankRow> rows;
  for (const RowSum& rank : ranks_) rows.push_back(rank.row());
  return rows;
}

std::string RunTotals::report_json(std::span<const std::string> hosts, int64_t attempt,
                                   const ReportParts& parts, std::string_view history,
                                   std::string_view goodput) const {
  const Window window = window_of(rows());
  Json ranks = Json::array();
  for (size_t rank = 0; rank < window.rows.size(); ++rank)
    ranks.push_back(rank_json(window.rows[rank], rank, hosts));
  const auto item = [&](Item which) {
    return spread_json(window.items[index_of(which)], hosts);
  };
  const Json json = {{"schema", record_schema},
                     {"attempt", attempt},
                     {"steps", static_cast<int64_t>(window.items[index_of(Item::steps)].max)},
                     {"step_seconds", item(Item::step_seconds)},
                     {"phases", phases_json(window, hosts)},
                     {"memory", memory_json(window, hosts)},
                     {"memory_kinds", memory_kinds_json(window, hosts)},
                     {"memory_forecast", forecast_json(parts.memory_forecast)},
                     {"communication", traffic_json(parts.communication, hosts)},
                     {"communication_seconds", communication_json(window, hosts)},
                     {"host_syncs", item(Item::host_syncs)},
                     {"host_sync_seconds", item(Item::host_sync_seconds)},
                     {"load_seconds", item(Item::load_seconds)},
                     {"model_flops_per_second", model_flops_json(window, hosts)},
                     {"mfu", mfu_json(window, parts.peak_flops_per_rank)},
                     {"sensors", sensors_json(window, hosts)},
                     {"ranks", std::move(ranks)},
                     {"units", units_json(parts.units, hosts)},
                     {"sections", sections_json(parts.sections, hosts)},
                     {"stragglers", stragglers_json(parts.known.stragglers, hosts)},
                     {"leaks", leaks_json(parts.known.leaks, hosts)},
                     {"goodput", parsed(goodput)},
                     {"operators", parsed(parts.operators.value_or(""))},
                     {"verdict", verdict_json(judge(window.rows, hosts, parts.known), hosts)}};
  // One number a line would make the history of many ranks three times as long.
  std::string text = dump(json, 2);
  text.erase(text.rfind('}'));
  while (text.back() == '\n') text.pop_back();
  return fmt::format("{},\n  \"history\": {}\n}}\n", text,
                     Json::accept(history) ? history : "null");
}

}  // namespace trireme::report

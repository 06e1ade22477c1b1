#include <trireme/core/error.h>
#include <trireme/report/records.h>
#include <trireme/report/run_totals.h>
#include <trireme/report/verdict.h>

#include "json.h"

#include <algorithm>
#include <utility>

namespace trireme::report {
namespace {

using telemetry::Phase;

constexpr bool is_mean(size_t item) {
  return item <= index_of(Item::comm_calls);
}

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
            {"rss", at(Item::rss)}}},
          {"communication",
           {{"busy_seconds", at(Item::comm_busy_seconds)},
            {"exposed_seconds", row[index_of(Phase::comm_exposed)]},
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
    if (static_cast<size_t>(verdict.rank) < hosts.size())
      json["host"] = hosts[static_cast<size_t>(verdict.rank)];
  }
  json["evidence"] = std::move(evidence);
  return json;
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

}  // namespace

void RunTotals::add(const Window& window) {
  if (sums_.empty()) sums_.resize(window.rows.size());
  check(sums_.size() == window.rows.size(), "all windows of a run have the same ranks");
  for (size_t rank = 0; rank < sums_.size(); ++rank) {
    const RankRow& row = window.rows[rank];
    const double steps = row[index_of(Item::steps)];
    for (size_t item = 0; item < item_count; ++item) {
      double& sum = sums_[rank][item];
      if (item == index_of(Item::steps))
        sum += steps;
      else if (is_mean(item))
        sum += row[item] * steps;
      else
        sum = std::max(sum, row[item]);
    }
  }
}

std::vector<RankRow> RunTotals::rows() const {
  std::vector<RankRow> rows = sums_;
  for (RankRow& row : rows) {
    const double steps = std::max(1.0, row[index_of(Item::steps)]);
    for (size_t item = 0; item < item_count; ++item)
      if (is_mean(item)) row[item] /= steps;
  }
  return rows;
}

std::string RunTotals::report_json(std::span<const std::string> hosts, int64_t attempt,
                                   std::span<const UnitSpread> units) const {
  const Window window = window_of(rows());
  Json ranks = Json::array();
  for (size_t rank = 0; rank < window.rows.size(); ++rank)
    ranks.push_back(rank_json(window.rows[rank], rank, hosts));
  const Json json = {
      {"schema", record_schema},
      {"attempt", attempt},
      {"steps", static_cast<int64_t>(window.items[index_of(Item::steps)].max)},
      {"step_seconds", spread_json(window.items[index_of(Item::step_seconds)], hosts)},
      {"phases", phases_json(window, hosts)},
      {"memory", memory_json(window, hosts)},
      {"ranks", std::move(ranks)},
      {"units", units_json(units, hosts)},
      {"verdict", verdict_json(judge(window.rows, hosts), hosts)}};
  return dump(json, 2) + "\n";
}

}  // namespace trireme::report

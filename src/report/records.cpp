#include <trireme/report/records.h>

#include "json.h"

#include <initializer_list>
#include <limits>
#include <utility>
#include <variant>

#include <fmt/format.h>

namespace trireme::report {
namespace {

Json header(int64_t attempt) {
  return {{"schema", record_schema}, {"attempt", attempt}};
}

/// The spread of what `of` says about each row.
template <class Of>
telemetry::Spread spread_over(const Window& window, const Of& of) {
  std::vector<double> values;
  for (const RankRow& row : window.rows) values.push_back(of(row));
  return telemetry::spread_of(values);
}

/// NaN, not infinity, where there was nothing to divide by.
double ratio(double part, double whole) {
  return whole > 0 ? part / whole : std::numeric_limits<double>::quiet_NaN();
}

telemetry::Spread model_flops(const Window& window) {
  return spread_over(window, [](const RankRow& row) {
    return ratio(row[index_of(Item::flops)], row[index_of(Item::step_seconds)]);
  });
}

Json group_json(const Window& window, std::span<const std::string> hosts,
                std::initializer_list<std::pair<const char*, Item>> items) {
  Json json;
  bool known = false;
  for (const auto& [name, item] : items) {
    json[name] = spread_json(window.items[index_of(item)], hosts);
    known = known || window.items[index_of(item)].max_rank >= 0;
  }
  return known ? json : Json();
}

}  // namespace

Json spread_json(const telemetry::Spread& spread, std::span<const std::string> hosts) {
  if (spread.max_rank < 0) return nullptr;
  return {{"min", spread.min},
          {"mean", spread.mean},
          {"p95", spread.p95},
          {"max", spread.max},
          {"min_rank", spread.min_rank},
          {"max_rank", spread.max_rank},
          {"max_host", host_of(spread.max_rank, hosts)}};
}

Json phases_json(const Window& window, std::span<const std::string> hosts) {
  Json json;
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    json[std::string(telemetry::phase_names[i])] = spread_json(window.items[i], hosts);
  return json;
}

Json memory_json(const Window& window, std::span<const std::string> hosts) {
  return group_json(window, hosts,
                    {{"allocated", Item::allocated},
                     {"reserved", Item::reserved},
                     {"peak", Item::peak},
                     {"rss", Item::rss},
                     {"peak_ever", Item::peak_ever}});
}

Json communication_json(const Window& window, std::span<const std::string> hosts) {
  Json json = {
      {"busy", spread_json(window.items[index_of(Item::comm_busy_seconds)], hosts)},
      {"exposed", spread_json(window.items[index_of(telemetry::Phase::comm_exposed)], hosts)},
      {"hidden", spread_json(window.items[index_of(Item::comm_hidden_seconds)], hosts)},
      {"bytes", spread_json(window.items[index_of(Item::comm_bytes)], hosts)},
      {"calls", spread_json(window.items[index_of(Item::comm_calls)], hosts)}};
  const telemetry::Spread speed = spread_over(window, [](const RankRow& row) {
    return ratio(row[index_of(Item::comm_bytes)], row[index_of(Item::comm_busy_seconds)]);
  });
  json["bytes_per_second"] = spread_json(speed, hosts);
  return json;
}

Json memory_kinds_json(const Window& window, std::span<const std::string> hosts) {
  Json json = group_json(window, hosts,
                         {{"parameters", Item::parameters},
                          {"gradients", Item::gradients},
                          {"optimizer", Item::optimizer_state},
                          {"buffers", Item::buffers},
                          {"activations", Item::activations},
                          {"batches", Item::batches},
                          {"other", Item::other_memory}});
  if (!json.is_null()) json["total"] = spread_json(window.items[index_of(Item::peak)], hosts);
  return json;
}

Json sensors_json(const Window& window, std::span<const std::string> hosts) {
  return group_json(window, hosts,
                    {{"utilisation", Item::utilisation},
                     {"power_watts", Item::power_watts},
                     {"celsius", Item::celsius},
                     {"throttled", Item::throttled}});
}

Json model_flops_json(const Window& window, std::span<const std::string> hosts) {
  return spread_json(model_flops(window), hosts);
}

Json mfu_json(const Window& window, std::optional<double> peak_flops_per_rank) {
  const telemetry::Spread flops = model_flops(window);
  if (!peak_flops_per_rank || *peak_flops_per_rank <= 0 || flops.max_rank < 0) return nullptr;
  return flops.mean / *peak_flops_per_rank;
}

std::string metrics_line(const StepMetrics& metrics, const Window& window,
                         std::span<const std::string> hosts, int64_t attempt,
                         std::optional<double> goodput) {
  Json json = header(attempt);
  json["step"] = metrics.step;
  json["epoch"] = metrics.epoch;
  json["loss"] = metrics.loss;
  json["lr"] = metrics.lr;
  json["grad_norm"] = metrics.grad_norm;
  json["samples"] = metrics.samples;
  json["tokens"] = metrics.tokens;
  json["step_seconds"] = metrics.step_seconds;
  json["samples_per_second"] = metrics.samples_per_second;
  json["tokens_per_second"] = metrics.tokens_per_second;
  json["skipped"] = metrics.skipped;
  json["phases"] = phases_json(window, hosts);
  json["memory"] = memory_json(window, hosts);
  json["communication"] = communication_json(window, hosts);
  if (Json kinds = memory_kinds_json(window, hosts); !kinds.is_null())
    json["memory_kinds"] = std::move(kinds);
  if (Json sensors = sensors_json(window, hosts); !sensors.is_null())
    json["sensors"] = std::move(sensors);
  json["host_syncs"] = spread_json(window.items[index_of(Item::host_syncs)], hosts);
  json["host_sync_seconds"] = spread_json(window.items[index_of(Item::host_sync_seconds)], hosts);
  json["load_seconds"] = spread_json(window.items[index_of(Item::load_seconds)], hosts);
  json["model_flops_per_second"] = model_flops_json(window, hosts);
  json["mfu"] = mfu_json(window, metrics.peak_flops_per_rank);
  json["goodput"] = goodput ? Json(*goodput) : Json();
  return dump(json);
}

std::string rank_line(const RankRow& row, int64_t step, int64_t steps, int64_t attempt, int rank,
                      std::string_view host) {
  Json json = header(attempt);
  json["step"] = step;
  json["rank"] = rank;
  json["host"] = host;
  for (size_t item = 0; item < item_count; ++item) json[std::string(item_names[item])] = row[item];
  json["steps"] = steps;
  return dump(json);
}

std::string eval_line(const EvalMetrics& metrics, int64_t attempt) {
  Json json = header(attempt);
  json["step"] = metrics.step;
  json["loss"] = metrics.loss;
  json["metrics"] = Json::object();
  for (const auto& [name, value] : metrics.metrics) json["metrics"][name] = value;
  json["samples"] = metrics.samples;
  return dump(json);
}

std::string event_line(const Event& event, int64_t attempt, std::string_view time) {
  Json json = header(attempt);
  json["time"] = time;
  json["event"] = event.name;
  json["step"] = event.step;
  for (const auto& [name, value] : event.details)
    std::visit([&json, &key = name](const auto& typed) { json[key] = typed; }, value);
  return dump(json);
}

}  // namespace trireme::report

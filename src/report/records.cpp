#include <trireme/report/records.h>

#include "json.h"

#include <chrono>
#include <ctime>
#include <variant>

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace trireme::report {
namespace {

Json header(int64_t attempt) {
  return {{"schema", record_schema}, {"attempt", attempt}};
}

}  // namespace

Json spread_json(const telemetry::Spread& spread, std::span<const std::string> hosts) {
  const auto rank = static_cast<size_t>(spread.max_rank);
  return {{"min", spread.min},
          {"mean", spread.mean},
          {"p95", spread.p95},
          {"max", spread.max},
          {"max_rank", spread.max_rank},
          {"max_host", spread.max_rank >= 0 && rank < hosts.size() ? hosts[rank] : ""}};
}

Json phases_json(const Window& window, std::span<const std::string> hosts) {
  Json json;
  for (size_t i = 0; i < telemetry::phase_count; ++i)
    json[std::string(telemetry::phase_names[i])] = spread_json(window.items[i], hosts);
  return json;
}

Json memory_json(const Window& window, std::span<const std::string> hosts) {
  const auto item = [&](Item which) {
    return spread_json(window.items[index_of(which)], hosts);
  };
  return {{"allocated", item(Item::allocated)},
          {"reserved", item(Item::reserved)},
          {"peak", item(Item::peak)},
          {"rss", item(Item::rss)}};
}

std::string metrics_line(const StepMetrics& metrics, const Window& window,
                         std::span<const std::string> hosts, int64_t attempt) {
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

std::string utc_time() {
  const auto now = std::chrono::system_clock::now();
  const auto ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(now)), ms);
}

}  // namespace trireme::report

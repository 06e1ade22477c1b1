#pragma once

#include <trireme/report/rank_reducer.h>

#include <span>
#include <string>

#include <nlohmann/json.hpp>

namespace trireme::report {

using Json = nlohmann::ordered_json;

/// Texts may hold what a file name or another library said: bytes that are no UTF-8 are replaced,
/// never thrown at.
[[nodiscard]] inline std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// {min, mean, p95, max, max_rank, max_host}
[[nodiscard]] Json spread_json(const telemetry::Spread& spread, std::span<const std::string> hosts);
/// The spreads of the phases, and of the memory items, under their names.
[[nodiscard]] Json phases_json(const Window& window, std::span<const std::string> hosts);
[[nodiscard]] Json memory_json(const Window& window, std::span<const std::string> hosts);

}  // namespace trireme::report

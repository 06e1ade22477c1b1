#pragma once

#include <trireme/report/rank_reducer.h>

#include "json_in.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::report {

using Json = nlohmann::ordered_json;

/// Texts may hold what a file name or another library said: bytes that are no UTF-8 are replaced,
/// never thrown at.
[[nodiscard]] inline std::string dump(const Json& json, int indent = -1) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

/// Empty if it is not known.
[[nodiscard]] inline std::string_view host_of(int rank, std::span<const std::string> hosts) {
  const auto index = static_cast<size_t>(rank);
  return index < hosts.size() ? hosts[index] : std::string_view();
}

/// {min, mean, p95, max, min_rank, max_rank, max_host}; null where no rank knows the quantity.
[[nodiscard]] Json spread_json(const telemetry::Spread& spread, std::span<const std::string> hosts);
/// The spreads of the phases, and of the memory items, under their names.
[[nodiscard]] Json phases_json(const Window& window, std::span<const std::string> hosts);
[[nodiscard]] Json memory_json(const Window& window, std::span<const std::string> hosts);
/// Seconds and bytes of a step's communication: busy, exposed, hidden, bytes, calls,
/// bytes_per_second.
[[nodiscard]] Json communication_json(const Window& window, std::span<const std::string> hosts);
/// The spreads of what `peak` was made of, and of the sensors; null where no rank knows them.
[[nodiscard]] Json memory_kinds_json(const Window& window, std::span<const std::string> hosts);
[[nodiscard]] Json sensors_json(const Window& window, std::span<const std::string> hosts);
/// The spread of the model's operations in a second, and which part that is of what the devices can
/// do.
[[nodiscard]] Json model_flops_json(const Window& window, std::span<const std::string> hosts);
[[nodiscard]] Json mfu_json(const Window& window, std::optional<double> peak_flops_per_rank);

}  // namespace trireme::report

#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace trireme::app {

/// The records of a run, as report::run_records() gives them, for people at a terminal: verdict, state, phases, slowest ranks, top
/// operators. Ends with a new line.
[[nodiscard]] std::string report_text(const nlohmann::json& records);

}  // namespace trireme::app

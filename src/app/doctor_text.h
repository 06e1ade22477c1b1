#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace trireme::app {

/// What `doctor --json` prints, as people read it; ends with a new line.
[[nodiscard]] std::string doctor_text(const nlohmann::ordered_json& report);

}  // namespace trireme::app

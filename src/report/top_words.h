#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::report {

// Members of records that a run, or somebody else, wrote. What is absent, or of another type, is
// unknown: null, NaN, empty; nothing throws.

[[nodiscard]] const nlohmann::json& at(const nlohmann::json& record, std::string_view key);
[[nodiscard]] double number(const nlohmann::json& record, std::string_view key);
[[nodiscard]] int64_t integer(const nlohmann::json& record, std::string_view key,
                              int64_t absent = 0);
[[nodiscard]] std::string text(const nlohmann::json& record, std::string_view key);

// Records in words.

[[nodiscard]] std::string event_text(const nlohmann::json& event);
/// Of an event that tells of a straggler or a leak.
[[nodiscard]] std::string trouble_text(const nlohmann::json& event);
[[nodiscard]] std::string finding_text(const nlohmann::json& digest, const nlohmann::json& finding);
/// Of a switch in control/debug.status.json.
[[nodiscard]] std::string switch_text(const std::string& name, const nlohmann::json& state);
[[nodiscard]] std::string exit_text(const nlohmann::json& exit);

}  // namespace trireme::report

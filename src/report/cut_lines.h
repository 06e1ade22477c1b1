#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

namespace trireme::report {

/// Cuts off the last lines of a .jsonl file whose steps only grow: later ones than `step`, and
/// damaged ones between and after them; all of them without a step. Reads no more than that. A file
/// that does not exist stays so. Throws kind `storage`.
void cut_lines_back(const std::filesystem::path& file, std::optional<int64_t> step);

/// Whether a record is one of a step until `step`, so that it stays in a run that goes on from
/// there; without a step none is.
[[nodiscard]] bool is_until(const nlohmann::json& record, std::optional<int64_t> step);

}  // namespace trireme::report

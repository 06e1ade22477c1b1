#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace trireme::report {

/// Cuts off the last lines of a .jsonl file whose steps only grow: later ones than `step`, and
/// damaged ones between and after them; all of them without a step. Reads no more than that. A file
/// that does not exist stays so. Throws kind `storage`.
void cut_lines_back(const std::filesystem::path& file, std::optional<int64_t> step);

}  // namespace trireme::report

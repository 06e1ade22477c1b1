#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include <nlohmann/json_fwd.hpp>

namespace trireme::storage {

struct TruncatedLines {
  int64_t kept = 0;
  int64_t removed = 0;  ///< as `keep` said
  int64_t damaged = 0;  ///< not JSON, or without their newline: removed
};

/// Keeps the lines of a .jsonl file for which `keep` holds, byte for byte, and removes the others
/// and damaged ones; at once and durably. A file that does not exist stays so; one with nothing to
/// remove is not touched. Error storage, or input_missing if it cannot be read.
TruncatedLines truncate_jsonl(const std::filesystem::path& path,
                              const std::function<bool(const nlohmann::json&)>& keep);

}  // namespace trireme::storage

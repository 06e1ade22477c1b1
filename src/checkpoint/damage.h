#pragma once

#include <trireme/checkpoint/manifest.h>

#include <filesystem>
#include <string>

namespace trireme::checkpoint {

/// Throws the Error data_damaged about a file of a checkpoint.
[[noreturn]] void throw_damaged(const std::filesystem::path& file, const std::string& what);

/// The file is there with its size; else data_damaged.
void check_present(const std::filesystem::path& checkpoint, const StoredFile& file);

/// No other shard lies in the folder; else data_damaged.
void check_nothing_extra(const std::filesystem::path& checkpoint, const Manifest& manifest);

}  // namespace trireme::checkpoint

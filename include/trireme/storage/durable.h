#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace trireme::storage {

// All throw Errors of kind `storage` that name the path.

/// Makes the names inside `folder` durable: after files were made, renamed or removed in it.
void sync_directory(const std::filesystem::path& folder);

/// Makes the folder and its missing parents, durably; it may exist.
void make_directories(const std::filesystem::path& folder);

/// Gives the folder `from` the name `to`, on the same file system, and makes that durable. A folder
/// that has the name already gets the name `from`, at once where the file system can exchange
/// names, else by two more renames. Returns whether there was one.
bool rename_folder(const std::filesystem::path& from, const std::filesystem::path& to);

/// Puts `text` into the file at once and durably: readers and a crash see the old or the new
/// contents.
void replace_file(const std::filesystem::path& path, std::string_view text);

/// What an ordinary user may still write on the file system that holds `path`; -1 if unknown.
[[nodiscard]] int64_t free_bytes(const std::filesystem::path& path) noexcept;

}  // namespace trireme::storage

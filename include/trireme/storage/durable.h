#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace trireme::storage {

/// See rename_folder().
inline constexpr const char* replaced_suffix = ".tmp-replaced";

// All throw Errors of kind `storage` that name the path.

/// Makes the names inside `folder` durable: after files were made, renamed or removed in it.
void sync_directory(const std::filesystem::path& folder);

/// Makes the folder and its missing parents, durably; it may exist.
void make_directories(const std::filesystem::path& folder);

/// Makes a folder that must not exist yet. Its name is durable after sync_directory() of its
/// parent.
void make_new_folder(const std::filesystem::path& folder);

/// Removes a folder with all that is in it, or a file; returns whether there was one. What was
/// removed before a failure stays so.
bool remove_tree(const std::filesystem::path& path);

/// Gives the folder `from` the name `to`, on the same file system, and makes that durable. A folder
/// that has the name already gets the name `from`, at once where the file system can exchange
/// names, else by two more renames; what dies between these leaves it under its name with
/// `replaced_suffix`. Returns whether there was one.
bool rename_folder(const std::filesystem::path& from, const std::filesystem::path& to);

/// Puts `text` into the file at once and durably: readers and a crash see the old or the new
/// contents.
void replace_file(const std::filesystem::path& path, std::string_view text);

/// Removes from `folder` what replace_file() left there when its process died. Nobody may be
/// replacing files in it.
void remove_temporaries(const std::filesystem::path& folder);

/// What an ordinary user may still write on the file system that holds `path`; -1 if unknown.
[[nodiscard]] int64_t free_bytes(const std::filesystem::path& path) noexcept;

}  // namespace trireme::storage

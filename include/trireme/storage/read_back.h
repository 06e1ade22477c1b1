#pragma once

#include <trireme/storage/hash.h>

#include <filesystem>

namespace trireme::storage {

/// The hash of a file as it comes back from the disk: its pages in the cache are given up first, as
/// far as the system does so. The file must have been synced. Error storage if it cannot be read.
[[nodiscard]] Hash128 read_back(const std::filesystem::path& path);

}  // namespace trireme::storage

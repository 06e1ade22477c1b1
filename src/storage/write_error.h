#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace trireme::storage {

/// Throws the Error of kind `storage` for a failed operation on `path`, `error` being the errno.
/// `needed`: bytes that were still to be written, if that is the matter; else 0.
[[noreturn]] void throw_write_error(const std::filesystem::path& path, std::string_view operation,
                                    int error, int64_t needed = 0);

}  // namespace trireme::storage

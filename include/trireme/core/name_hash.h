#pragma once

#include <cstdint>
#include <string_view>

namespace trireme::core {

/// The number that RandomKey::fold(name) folds in (FNV-1a).
[[nodiscard]] uint64_t name_hash(std::string_view name);

}  // namespace trireme::core

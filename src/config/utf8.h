#pragma once

#include <cstddef>
#include <string_view>

namespace trireme::config {

/// The offset of the first byte that is not part of valid UTF-8 (RFC 3629) or that YAML does not
/// allow (control characters other than tab and line ends); npos if there is none.
[[nodiscard]] std::size_t first_bad_byte(std::string_view text);

}  // namespace trireme::config

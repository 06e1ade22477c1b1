#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trireme {

/// A character of UTF-8 text (Unicode 15, table 3-7: no overlong forms, surrogates, or codes above
/// U+10FFFF).
struct Utf8Character {
  std::uint32_t code = 0;
  std::size_t bytes = 0;  // 0: what begins here is no character
};

/// The character that `text`, which is not empty, begins with.
[[nodiscard]] Utf8Character first_utf8_character(std::string_view text);

}  // namespace trireme

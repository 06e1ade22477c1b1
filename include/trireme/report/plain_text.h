#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>

namespace trireme::report {

/// The character that a text, which is not empty, begins with, as a terminal takes it.
struct TextCharacter {
  size_t bytes = 1;
  int columns = 1;
  /// UTF-8 that is neither a control character nor one that turns the direction of writing.
  bool plain = true;
};
[[nodiscard]] TextCharacter first_character(std::string_view text);

/// What a file said, for a terminal: with '?' for what is not plain, and as many whole characters as
/// fit into `columns`.
[[nodiscard]] std::string plain_text(std::string_view text,
                                     int columns = std::numeric_limits<int>::max());

}  // namespace trireme::report

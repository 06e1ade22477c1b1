#include <trireme/core/utf8.h>
#include <trireme/report/plain_text.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace trireme::report {
namespace {

struct Range {
  uint32_t from, to;
};
// The blocks of East Asian characters and pictures that terminals draw in two columns.
constexpr std::array<Range, 7> wide{{{0x1100, 0x115f},
                                     {0x2e80, 0xa4cf},
                                     {0xac00, 0xd7a3},
                                     {0xf900, 0xfaff},
                                     {0xfe30, 0xff60},
                                     {0x1f300, 0x1faff},
                                     {0x20000, 0x3fffd}}};

int columns_of(uint32_t code) {
  const bool two = std::any_of(wide.begin(), wide.end(), [code](const Range& range) {
    return code >= range.from && code <= range.to;
  });
  return two ? 2 : 1;
}

/// Control characters, and those that turn the direction of writing.
bool is_control(uint32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

TextCharacter first_character(std::string_view text) {
  const Utf8Character first = first_utf8_character(text);
  const bool plain = first.bytes > 0 && !is_control(first.code);
  return {.bytes = std::max<size_t>(first.bytes, 1),
          .columns = plain ? columns_of(first.code) : 1,
          .plain = plain};
}

std::string plain_text(std::string_view text, int columns) {
  std::string shown;
  while (!text.empty()) {
    const TextCharacter character = first_character(text);
    if (character.columns > columns) break;
    columns -= character.columns;
    shown += character.plain ? text.substr(0, character.bytes) : "?";
    text.remove_prefix(character.bytes);
  }
  return shown;
}

}  // namespace trireme::report

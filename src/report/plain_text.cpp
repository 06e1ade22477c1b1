#include <trireme/report/plain_text.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace trireme::report {
namespace {

struct Character {
  uint32_t code = 0;
  size_t bytes = 1;
  bool valid = true;
};

/// The character that a text begins with, as UTF-8.
Character first_of(std::string_view text) {
  const auto byte = [&](size_t i) {
    return static_cast<unsigned char>(text[i]);
  };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead};
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {0, 1, false};
  uint32_t code = lead & (0xffU >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {0, 1, false};
    code = (code << 6) | (byte(i) & 0x3fU);
  }
  return {code, bytes};
}

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
  const Character first = first_of(text);
  const bool plain = first.valid && !is_control(first.code);
  return {.bytes = first.bytes, .columns = plain ? columns_of(first.code) : 1, .plain = plain};
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

#include "config/utf8.h"

#include <trireme/core/utf8.h>

namespace trireme::config {
namespace {

bool allowed(std::uint32_t code) {
  return code >= 0x80 || (code >= 0x20 && code != 0x7f) || code == '\t' || code == '\n' ||
         code == '\r';
}

}  // namespace

std::size_t first_bad_byte(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const Utf8Character character = first_utf8_character(text.substr(at));
    if (character.bytes == 0 || !allowed(character.code)) return at;
    at += character.bytes;
  }
  return std::string_view::npos;
}

}  // namespace trireme::config

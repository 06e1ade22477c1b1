#include "report/trace_text.h"

#include <trireme/core/utf8.h>

#include <array>
#include <charconv>

namespace trireme::report {
namespace {

bool continues(std::string_view text, size_t i) {
  return (static_cast<unsigned char>(text[i]) & 0xC0) == 0x80;
}

bool is_plain(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x20 && byte < 0x7F && c != '"' && c != '\\';
}

void append_control(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(c);
      out += "\\u00";
      out += digits[byte >> 4];
      out += digits[byte & 15];
  }
}

}  // namespace

void append_number(std::string& out, int64_t value) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  out.append(digits.data(), end);
}

void append_microseconds(std::string& out, int64_t ns) {
  if (ns < 0) ns = 0;
  append_number(out, ns / 1000);
  const auto rest = static_cast<unsigned>(ns % 1000);
  if (rest == 0) return;
  out += '.';
  out += static_cast<char>('0' + rest / 100);
  if (rest % 100 == 0) return;
  out += static_cast<char>('0' + rest / 10 % 10);
  if (rest % 10 != 0) out += static_cast<char>('0' + rest % 10);
}

void append_quoted(std::string& out, std::string_view text) {
  const bool cut = text.size() > longest_trace_text;
  if (cut) {
    size_t end = longest_trace_text;
    while (end > longest_trace_text - 4 && continues(text, end)) --end;
    text = text.substr(0, end);
  }
  out += '"';
  for (size_t i = 0; i < text.size();) {
    size_t plain = i;
    while (plain < text.size() && is_plain(text[plain])) ++plain;
    out.append(text.data() + i, plain - i);
    if (plain == text.size()) break;
    const size_t length = first_utf8_character(text.substr(plain)).bytes;
    if (length > 1)
      out.append(text.data() + plain, length);
    else if (length == 1)
      append_control(out, text[plain]);
    else
      out += "\xEF\xBF\xBD";
    i = plain + (length == 0 ? 1 : length);
  }
  if (cut) out += "...";
  out += '"';
}

}  // namespace trireme::report

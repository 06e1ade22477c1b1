#include "config/scalar.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <system_error>

#include <fmt/format.h>

namespace trireme::config {
namespace {

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::ranges::find(words, text) != words.end();
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

/// Removes the digits at the front and says how many they were.
std::size_t take_digits(std::string_view& text) {
  const std::size_t count =
      static_cast<std::size_t>(std::ranges::find_if_not(text, is_digit) - text.begin());
  text.remove_prefix(count);
  return count;
}

std::string_view without_sign(std::string_view text) {
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) text.remove_prefix(1);
  return text;
}

bool is_decimal(std::string_view text) {
  text = without_sign(text);
  return take_digits(text) > 0 && text.empty();
}

/// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool is_float(std::string_view text) {
  text = without_sign(text);
  const std::size_t before = take_digits(text);
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t after = take_digits(text);
    if (before + after == 0) return false;
  } else if (before == 0) {
    return false;
  }
  if (text.empty()) return true;
  if (text[0] != 'e' && text[0] != 'E') return false;
  text = without_sign(text.substr(1));
  return take_digits(text) > 0 && text.empty();
}

/// from_chars knows no plus sign.
std::string_view without_plus(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  return text;
}

Node integer_of(std::string_view digits, int base) {
  std::int64_t value = 0;
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error == std::errc() && end == digits.data() + digits.size()) return make_integer(value);
  return make_number(std::numeric_limits<double>::infinity());
}

Node float_of(std::string_view digits) {
  double value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (result.ec != std::errc()) value = std::numeric_limits<double>::infinity();
  return make_number(value);
}

bool has_prefixed_digits(std::string_view text, std::string_view prefix, std::string_view digits) {
  return text.size() > prefix.size() && text.starts_with(prefix) &&
         text.find_first_not_of(digits, prefix.size()) == std::string_view::npos;
}

Node value_of(std::string_view text) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  if (is_one_of(text, {"", "~", "null", "Null", "NULL"})) return make_null();
  if (is_one_of(text, {"true", "True", "TRUE"})) return make_boolean(true);
  if (is_one_of(text, {"false", "False", "FALSE"})) return make_boolean(false);
  if (is_decimal(text)) {
    Node value = integer_of(without_plus(text), 10);
    return value.kind == Node::Kind::integer ? value : float_of(without_plus(text));
  }
  if (has_prefixed_digits(text, "0o", "01234567")) return integer_of(text.substr(2), 8);
  if (has_prefixed_digits(text, "0x", "0123456789abcdefABCDEF"))
    return integer_of(text.substr(2), 16);
  if (is_float(text)) return float_of(without_plus(text));
  if (is_one_of(without_sign(text), {".inf", ".Inf", ".INF"})) {
    return make_number(text[0] == '-' ? -infinity : infinity);
  }
  if (is_one_of(text, {".nan", ".NaN", ".NAN"})) {
    return make_number(std::numeric_limits<double>::quiet_NaN());
  }
  return make_text({});
}

}  // namespace

Node type_plain_scalar(std::string_view text) {
  Node node = value_of(text);
  node.text = text;
  return node;
}

std::string number_text(double value) {
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  const double magnitude = std::abs(value);
  const bool is_fixed = magnitude == 0 || (magnitude >= 1e-4 && magnitude < 1e16);
  std::array<char, 32> buffer{};
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value,
                    is_fixed ? std::chars_format::fixed : std::chars_format::scientific);
  std::string text(buffer.data(), result.ptr);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (byte < 0x20 || byte == 0x7f) {
          out += fmt::format("\\u{:04x}", byte);
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

}  // namespace trireme::config

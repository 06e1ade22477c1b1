#pragma once

#include <trireme/core/error.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// A word or sign of a rule's condition.
struct Token {
  enum class Kind : uint8_t { number, name, word_or_sign, end };
  Kind kind = Kind::end;
  std::string_view text;  ///< of the condition, which outlives it
  double number = 0;
  size_t column = 0;  ///< counted from 1, in characters
};

/// Ends with one of kind `end`. Errors as Expression::parse().
[[nodiscard]] std::vector<Token> expression_tokens(std::string_view text);

/// As messages call it: "'<='", "the end".
[[nodiscard]] std::string shown(const Token& token);

/// Of kind `configuration`; without a hint it gets the list of names.
[[nodiscard]] Error expression_error(size_t column, const std::string& what, std::string hint = {});

}  // namespace trireme::debug

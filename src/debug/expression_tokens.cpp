#include "debug/expression_tokens.h"

#include <trireme/debug/rules.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <system_error>

#include <fmt/format.h>

namespace trireme::debug {
namespace {

constexpr size_t longest = 1000;
constexpr std::array<std::string_view, 5> words{"and", "or", "not", "is", "finite"};
constexpr std::array<std::string_view, 12> signs{"<=", ">=", "==", "!=", "<", ">",
                                                 "+",  "-",  "*",  "/",  "(", ")"};

// By hand, since those of <cctype> follow the locale and fail on negative characters.
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool begins_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool continues_name(char c) {
  return begins_name(c) || is_digit(c) || c == '.';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}
bool continues_character(char c) {
  return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  std::vector<Token> read() {
    std::vector<Token> tokens;
    for (;;) {
      while (at_ < text_.size() && is_space(text_[at_])) ++at_;
      tokens.push_back(next());
      if (tokens.back().kind == Token::Kind::end) return tokens;
    }
  }

 private:
  [[nodiscard]] size_t column() const {
    return 1 + static_cast<size_t>(std::count_if(text_.begin(),
                                                 text_.begin() + static_cast<std::ptrdiff_t>(at_),
                                                 [](char c) { return !continues_character(c); }));
  }
  Token token(Token::Kind kind, size_t bytes) {
    const Token token{.kind = kind, .text = text_.substr(at_, bytes), .column = column()};
    at_ += bytes;
    return token;
  }

  Token next() {
    if (at_ == text_.size()) return token(Token::Kind::end, 0);
    const std::string_view rest = text_.substr(at_);
    if (is_digit(rest[0]) || rest[0] == '.') return number(rest);
    if (begins_name(rest[0])) {
      const auto* end = std::find_if_not(rest.begin(), rest.end(), continues_name);
      const auto bytes = static_cast<size_t>(end - rest.begin());
      const bool word = std::ranges::find(words, rest.substr(0, bytes)) != words.end();
      return token(word ? Token::Kind::word_or_sign : Token::Kind::name, bytes);
    }
    for (const std::string_view sign : signs)
      if (rest.starts_with(sign)) return token(Token::Kind::word_or_sign, sign.size());
    if (rest[0] == '=') throw expression_error(column(), "'=' is no comparison", "write ==");
    size_t bytes = 1;
    while (bytes < rest.size() && continues_character(rest[bytes])) ++bytes;
    throw expression_error(column(), fmt::format("'{}' is not expected", rest.substr(0, bytes)));
  }

  Token number(std::string_view rest) {
    double value = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);
    const auto bytes = static_cast<size_t>(end - rest.data());
    if (error == std::errc::result_out_of_range)
      throw expression_error(column(),
                             fmt::format("{} cannot be held in a double", rest.substr(0, bytes)),
                             "numbers lie between 1e-307 and 1e308");
    if (error != std::errc() || (bytes < rest.size() && continues_name(rest[bytes])))
      throw expression_error(column(), "this is no number", "numbers are like 10, 0.5 or 1e-3");
    Token read = token(Token::Kind::number, bytes);
    read.number = value;
    return read;
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::vector<Token> expression_tokens(std::string_view text) {
  if (text.size() > longest)
    throw expression_error(longest, fmt::format("it is longer than {} characters", longest),
                           "make several rules of it");
  return Reader(text).read();
}

std::string shown(const Token& token) {
  return token.kind == Token::Kind::end ? "the end" : fmt::format("'{}'", token.text);
}

Error expression_error(size_t column, const std::string& what, std::string hint) {
  if (hint.empty())
    hint = fmt::format(
        "names: {} and the metrics of the model; mean(name), last(name); e.g. grad_norm > 10 or "
        "loss not finite",
        fmt::join(rule_names, ", "));
  return Error(ErrorKind::configuration, fmt::format("column {}: {}", column, what),
               std::move(hint));
}

}  // namespace trireme::debug

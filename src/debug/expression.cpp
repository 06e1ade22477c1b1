#include "debug/expression.h"

#include "debug/expression_tokens.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace trireme::debug {

/// By recursive descent; each function leaves its node as the last one and returns its index.
class ExpressionParser {
 public:
  ExpressionParser(Expression& into, std::string_view text)
      : into_(into), tokens_(expression_tokens(text)) {}

  void parse() {
    const Token first = here();
    const size_t root = condition();
    if (here().kind != Token::Kind::end)
      throw expression_error(here().column, fmt::format("{} is not expected", shown(here())));
    require_condition(root, first);
  }

 private:
  using Operation = Expression::Operation;

  // Each level of brackets and signs takes a few hundred bytes of stack.
  static constexpr int deepest = 100;
  struct Level {
    Level(int& depth, size_t column) : depth_(depth) {
      if (depth_ >= deepest) throw expression_error(column, "it is nested too deep");
      ++depth_;
    }
    ~Level() { --depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    int& depth_;
  };

  [[nodiscard]] const Token& here() const { return tokens_[next_]; }
  Token take() {
    Token token = here();
    if (token.kind != Token::Kind::end) ++next_;
    return token;
  }
  [[nodiscard]] bool is_here(std::string_view text) const {
    return here().kind == Token::Kind::word_or_sign && here().text == text;
  }
  bool accept(std::string_view text) {
    if (!is_here(text)) return false;
    ++next_;
    return true;
  }
  void expect(std::string_view text) {
    if (!accept(text))
      throw expression_error(here().column,
                             fmt::format("'{}' is expected, not {}", text, shown(here())));
  }

  size_t add(Expression::Node node) {
    into_.nodes_.push_back(node);
    return into_.nodes_.size() - 1;
  }
  [[nodiscard]] bool is_condition(size_t node) const {
    return Expression::is_condition(into_.nodes_[node].operation);
  }
  void require_condition(size_t node, const Token& at) const {
    if (!is_condition(node))
      throw expression_error(
          at.column, fmt::format("{} begins a number where a condition is expected", shown(at)));
  }
  void require_number(size_t node, const Token& at) const {
    if (is_condition(node))
      throw expression_error(
          at.column, fmt::format("{} begins a condition where a number is expected", shown(at)));
  }

  /// operand { sign operand }, from the left; `check` says what the operands must be.
  template <class Operand, class Check>
  size_t chain(std::initializer_list<std::pair<std::string_view, Operation>> signs, Operand operand,
               Check check) {
    Token at = here();
    size_t left = operand();
    for (;;) {
      const auto* sign = std::find_if(signs.begin(), signs.end(),
                                      [&](const auto& one) { return is_here(one.first); });
      if (sign == signs.end()) return left;
      check(left, at);
      (void)take();
      at = here();
      const size_t right = operand();
      check(right, at);
      left = add({.operation = sign->second, .left = left, .right = right});
    }
  }

  size_t condition() {
    const Level level(depth_, here().column);
    return chain(
        {{"or", Operation::either}}, [this] { return conjunction(); }, conditions_);
  }
  size_t conjunction() {
    return chain(
        {{"and", Operation::both}}, [this] { return negation(); }, conditions_);
  }

  size_t negation() {
    if (!accept("not")) return test();
    const Level level(depth_, here().column);
    const Token at = here();
    const size_t inner = negation();
    require_condition(inner, at);
    return add({.operation = Operation::invert, .left = inner});
  }

  size_t test() {
    static constexpr std::array<std::pair<std::string_view, Operation>, 6> comparisons{
        {{"<=", Operation::at_most},
         {">=", Operation::at_least},
         {"==", Operation::equal},
         {"!=", Operation::unequal},
         {"<", Operation::less},
         {">", Operation::more}}};
    const auto comparison = [&] {
      return std::ranges::find_if(comparisons, [&](const auto& one) { return is_here(one.first); });
    };
    const Token at = here();
    const size_t left = sum();
    if (is_here("is") || is_here("not")) return finite(left, at);
    if (is_here("finite"))
      throw expression_error(here().column, "'is' is expected before 'finite'");
    const auto* found = comparison();
    if (found == comparisons.end()) return left;
    require_number(left, at);
    (void)take();
    const Token right_at = here();
    const size_t right = sum();
    require_number(right, right_at);
    if (comparison() != comparisons.end())
      throw expression_error(here().column, "comparisons do not chain: join them with 'and'");
    return add({.operation = found->second, .left = left, .right = right});
  }

  size_t finite(size_t left, const Token& at) {
    require_number(left, at);
    (void)accept("is");
    const bool inverted = accept("not");
    expect("finite");
    const size_t test = add({.operation = Operation::finite, .left = left});
    return inverted ? add({.operation = Operation::invert, .left = test}) : test;
  }

  size_t sum() {
    return chain(
        {{"+", Operation::add}, {"-", Operation::subtract}}, [this] { return product(); },
        numbers_);
  }
  size_t product() {
    return chain(
        {{"*", Operation::multiply}, {"/", Operation::divide}}, [this] { return signed_atom(); },
        numbers_);
  }
  size_t signed_atom() {
    if (!accept("-")) return atom();
    const Level level(depth_, here().column);
    const Token at = here();
    const size_t inner = signed_atom();
    require_number(inner, at);
    return add({.operation = Operation::negate, .left = inner});
  }

  size_t atom() {
    if (here().kind == Token::Kind::number)
      return add({.operation = Operation::number, .number = take().number});
    if (here().kind == Token::Kind::name) {
      const Token word = take();
      const bool called = is_here("(");
      if (called && word.text == "mean") return reading(Expression::Reading::mean);
      if (called && word.text == "last") return reading(Expression::Reading::last);
      if (called)
        throw expression_error(word.column, fmt::format("there is no function '{}'", word.text),
                               "functions: mean(name), last(name)");
      return value(word, Expression::Reading::now);
    }
    if (accept("(")) {
      const size_t inner = condition();
      expect(")");
      return inner;
    }
    throw expression_error(here().column,
                           fmt::format("a name or a number is expected, not {}", shown(here())));
  }

  size_t reading(Expression::Reading which) {
    expect("(");
    if (here().kind != Token::Kind::name)
      throw expression_error(here().column,
                             fmt::format("a name is expected, not {}", shown(here())));
    const Token word = take();
    expect(")");
    return value(word, which);
  }

  size_t value(const Token& word, Expression::Reading which) {
    const auto found = std::ranges::find(into_.names_, word.text);
    const auto name = static_cast<size_t>(found - into_.names_.begin());
    if (found == into_.names_.end()) {
      into_.names_.emplace_back(word.text);
      into_.columns_.push_back(word.column);
    }
    return add({.operation = Operation::value, .reading = which, .name = name});
  }

  struct Conditions {
    const ExpressionParser* parser;
    void operator()(size_t node, const Token& at) const { parser->require_condition(node, at); }
  };
  struct Numbers {
    const ExpressionParser* parser;
    void operator()(size_t node, const Token& at) const { parser->require_number(node, at); }
  };

  Expression& into_;
  std::vector<Token> tokens_;
  size_t next_ = 0;
  int depth_ = 0;
  const Conditions conditions_{this};
  const Numbers numbers_{this};
};

Expression Expression::parse(std::string_view text) {
  Expression expression;
  expression.text_ = text;
  ExpressionParser(expression, expression.text_).parse();
  return expression;
}

size_t Expression::column_of(std::string_view name) const {
  const auto found = std::ranges::find(names_, name);
  return found == names_.end() ? 0 : columns_[static_cast<size_t>(found - names_.begin())];
}

bool Expression::holds(const Values& values) const {
  return evaluate(nodes_.size() - 1, values) != 0;
}

double Expression::evaluate(size_t index, const Values& values) const {
  const Node& node = nodes_[index];
  const auto left = [&] {
    return evaluate(node.left, values);
  };
  const auto right = [&] {
    return evaluate(node.right, values);
  };
  switch (node.operation) {
    case Operation::number:
      return node.number;
    case Operation::value:
      return values(node.reading, names_[node.name]);
    case Operation::negate:
      return -left();
    case Operation::add:
      return left() + right();
    case Operation::subtract:
      return left() - right();
    case Operation::multiply:
      return left() * right();
    case Operation::divide:
      return left() / right();
    case Operation::less:
      return left() < right();
    case Operation::at_most:
      return left() <= right();
    case Operation::more:
      return left() > right();
    case Operation::at_least:
      return left() >= right();
    case Operation::equal:
      return left() == right();
    case Operation::unequal: {
      const double a = left(), b = right();
      return a < b || a > b;
    }
    case Operation::finite:
      return std::isfinite(left());
    case Operation::invert:
      return left() == 0;
    case Operation::both:
      return left() != 0 && right() != 0;
    case Operation::either:
      return left() != 0 || right() != 0;
  }
  return 0;
}

}  // namespace trireme::debug

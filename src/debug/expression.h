#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// The condition of a rule, e.g. "grad_norm > 10 or loss not finite".
///
///   condition  = conjunction { "or" conjunction }
///   conjunction = negation { "and" negation }
///   negation   = "not" negation | test
///   test       = sum [ ("<" | "<=" | ">" | ">=" | "==" | "!=") sum | ["is"] "not" "finite" | "is"
///   "finite" ] sum        = product { ("+" | "-") product } product    = sign { ("*" | "/") sign }
///   sign       = "-" sign | atom
///   atom       = number | name | ("mean" | "last") "(" name ")" | "(" condition ")"
///
/// Numbers and conditions do not mix. A comparison with NaN is false.
class Expression {
 public:
  enum class Reading : uint8_t { now, mean, last };
  using Values = std::function<double(Reading, std::string_view name)>;

  /// Error of kind `configuration` that points at the column.
  [[nodiscard]] static Expression parse(std::string_view text);

  [[nodiscard]] bool holds(const Values& values) const;
  /// The names in it, each once, in their order.
  [[nodiscard]] const std::vector<std::string>& names() const { return names_; }
  /// The column, counted from 1, in which a name of names() first stands.
  [[nodiscard]] size_t column_of(std::string_view name) const;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  friend class ExpressionParser;
  enum class Operation : uint8_t {
    number,
    value,
    negate,
    add,
    subtract,
    multiply,
    divide,
    less,
    at_most,
    more,
    at_least,
    equal,
    unequal,
    finite,
    invert,
    both,
    either,
  };
  struct Node {
    Operation operation;
    Reading reading = Reading::now;
    size_t name = 0;  // in names_
    double number = 0;
    size_t left = 0;  // in nodes_
    size_t right = 0;
  };
  static bool is_condition(Operation operation) { return operation >= Operation::less; }
  [[nodiscard]] double evaluate(size_t node, const Values& values) const;

  std::string text_;
  std::vector<Node> nodes_;  // the last is the root
  std::vector<std::string> names_;
  std::vector<size_t> columns_;
};

}  // namespace trireme::debug

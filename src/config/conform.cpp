#include "config/conform.h"

#include "config/nearest.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trireme::config {
namespace {

using Kind = Type::Kind;

bool fits(const Node& node, const Type& type) {
  if (node.kind == Node::Kind::null) return type.nullable || type.kind == Kind::object;
  switch (type.kind) {
    case Kind::boolean:
      return node.kind == Node::Kind::boolean;
    case Kind::integer:
      return node.kind == Node::Kind::integer && node.integer >= type.lowest &&
             node.integer <= type.highest;
    case Kind::number:
      // An infinity that is not spelled .inf is a number that double cannot hold.
      return node.kind == Node::Kind::integer ||
             (node.kind == Node::Kind::number &&
              (!std::isinf(node.number) || node.text.empty() ||
               node.text.find_first_of("nN") != std::string::npos));
    case Kind::text:
      return node.kind == Node::Kind::text;
    case Kind::object:
    case Kind::section:
      return node.kind == Node::Kind::mapping;
    case Kind::list:
      return node.kind == Node::Kind::list;
    case Kind::either:
      return std::ranges::any_of(type.of, [&](const Type& one) { return fits(node, one); });
  }
  return false;
}

std::string found(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "null";
    case Node::Kind::boolean:
      return "the boolean " + plain_text(node);
    case Node::Kind::integer:
      return "the integer " + plain_text(node);
    case Node::Kind::number:
      return "the number " + plain_text(node);
    case Node::Kind::text:
      return "the text '" + plain_text(node) + "'";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::mapping:
      return "a mapping";
  }
  return "nothing";
}

bool is_scalar(const Node& node) {
  return node.kind != Node::Kind::list && node.kind != Node::Kind::mapping;
}

std::string type_hint(const Node& node, const Type& type, const std::string& path) {
  const std::string text = plain_text(node);
  if (type.kind == Kind::text && is_scalar(node) && node.kind != Node::Kind::null) {
    return fmt::format("in quotes it is a text: \"{}\"", text);
  }
  if (type.kind == Kind::boolean && node.kind == Node::Kind::text) {
    return "YAML 1.2 writes true or false";
  }
  if (type.kind == Kind::integer && node.kind == Node::Kind::number) {
    return std::isinf(node.number) && node.text.find_first_of("nN") == std::string::npos
               ? "it does not fit into 64 bits"
               : "write an integer without point and exponent";
  }
  if (type.kind == Kind::integer && node.kind == Node::Kind::integer) {
    return fmt::format("allowed: {} to {}", type.lowest, type.highest);
  }
  if (type.kind == Kind::number && node.kind == Node::Kind::number) {
    return "it does not fit into a double";
  }
  if ((type.kind == Kind::integer || type.kind == Kind::number) && node.kind == Node::Kind::text &&
      text.find('_') != std::string::npos) {
    return "YAML 1.2 has no underscores in numbers";
  }
  if (type.kind == Kind::list && is_scalar(node) && node.kind != Node::Kind::null) {
    return fmt::format("write a list: [{}]", text);
  }
  return fmt::format("trireme config explain {} prints what it takes", path);
}

Problem wrong_type(const Node& node, const Type& type, const std::string& path) {
  return {node.place, path, fmt::format("expected {}, found {}", to_string(type), found(node)),
          type_hint(node, type, path)};
}

std::string bound_text(const Declaration::Bound& bound, const char* exclusive,
                       const char* inclusive) {
  return fmt::format("{} {}", bound.exclusive ? exclusive : inclusive, bound.value);
}

std::string range_text(const Declaration& key) {
  std::vector<std::string> parts;
  if (key.lower) parts.push_back(bound_text(*key.lower, "above", "at least"));
  if (key.upper) parts.push_back(bound_text(*key.upper, "below", "at most"));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::vector<std::string> choice_texts(const Declaration& key) {
  std::vector<std::string> texts;
  for (const Node& choice : key.choices) texts.push_back(plain_text(choice));
  return texts;
}

/// Written so that NaN is in no range.
bool in_range(double value, const Declaration& key) {
  const auto& [lower, upper] = std::tie(key.lower, key.upper);
  if (lower && !(lower->exclusive ? value > lower->value : value >= lower->value)) return false;
  if (upper && !(upper->exclusive ? value < upper->value : value <= upper->value)) return false;
  return true;
}

bool is_choice(const Node& node, const Declaration& key) {
  return std::ranges::any_of(key.choices, [&](const Node& choice) {
    if (choice.kind == Node::Kind::text) return node.text == choice.text;
    return node.number == choice.number;
  });
}

/// Choices of texts concern texts, choices of numbers concern numbers: `auto | 25` may restrict
/// either.
bool choices_concern(const Node& node, const Declaration& key) {
  if (key.choices.empty()) return false;
  const bool texts = key.choices[0].kind == Node::Kind::text;
  return texts ? node.kind == Node::Kind::text
               : node.kind == Node::Kind::integer || node.kind == Node::Kind::number;
}

}  // namespace

bool conforms(const Node& node, const Type& type, const std::string& path,
              std::vector<Problem>& problems) {
  if (type.kind == Kind::list && node.kind == Node::Kind::text && type.length == 0 &&
      type.of[0].kind == Kind::text) {
    return true;  // one text stands for a list of one
  }
  if (!fits(node, type)) {
    problems.push_back(wrong_type(node, type, path));
    return false;
  }
  if (node.kind != Node::Kind::list) return true;
  if (type.length != 0 && node.items.size() != type.length) {
    problems.push_back(
        {node.place, path,
         fmt::format("expected {}, found a list of {}", to_string(type), node.items.size()),
         fmt::format("give {} elements", type.length)});
    return false;
  }
  bool good = true;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    good = conforms(node.items[i], type.of[0], fmt::format("{}[{}]", path, i), problems) && good;
  }
  return good;
}

bool is_allowed(const Node& node, const Declaration& key, const std::string& path,
                std::vector<Problem>& problems) {
  bool good = true;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    good = is_allowed(node.items[i], key, fmt::format("{}[{}]", path, i), problems) && good;
  }
  if (choices_concern(node, key) && !is_choice(node, key)) {
    const std::vector<std::string> choices = choice_texts(key);
    const std::string near = nearest(plain_text(node), choices);
    problems.push_back(
        {node.place, path, fmt::format("'{}' is not allowed", plain_text(node)),
         fmt::format("{}allowed: {}", near.empty() ? "" : "did you mean '" + near + "'? ",
                     fmt::join(choices, ", "))});
    return false;
  }
  const bool is_number = node.kind == Node::Kind::integer || node.kind == Node::Kind::number;
  if (is_number && !in_range(node.number, key)) {
    problems.push_back({node.place, path, fmt::format("{} is out of range", plain_text(node)),
                        "allowed: " + range_text(key)});
    return false;
  }
  return good;
}

std::string constraints_text(const Declaration& key) {
  const std::string range = range_text(key);
  if (key.choices.empty()) return range;
  return fmt::format("{}{}one of {}", range, range.empty() ? "" : ", ",
                     fmt::join(choice_texts(key), ", "));
}

std::string plain_text(const Node& node) {
  return node.text.empty() && node.kind != Node::Kind::text ? to_json(node) : node.text;
}

}  // namespace trireme::config

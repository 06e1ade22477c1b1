#pragma once

#include <trireme/config/node.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace trireme::config {

/// What values a key takes. Ranges and allowed values that a key adds are not part of its type.
struct Type {
  enum class Kind { boolean, integer, number, text, object, list, section, either };

  Kind kind = Kind::text;
  bool nullable = false;
  std::vector<Type> of =
      {};  ///< list: the element's type; either: the alternatives, all of them scalars
  std::size_t length = 0;  ///< list: the exact length, 0 for any
  std::int64_t lowest =
      std::numeric_limits<std::int64_t>::min();  ///< integer: what the field can hold
  std::int64_t highest = std::numeric_limits<std::int64_t>::max();
};
/// "integer", "number or null", "list of text", "list of 2 numbers", "number or text"
[[nodiscard]] std::string to_string(const Type& type);

/// A mapping that is taken as it is, with any keys, e.g. the settings of a plugin that reads them
/// itself.
struct JsonObject {
  std::string text = "{}";
};

/// How a field's C++ type becomes a Node and back. read() is only called with nodes that conform to
/// type().
template <class T>
struct Codec {
  static_assert(sizeof(T) == 0,
                "a configuration key is a bool, integer, double, std::string, JsonObject, or an "
                "optional, vector, array or "
                "variant of these, or a struct with bind()");
};

template <>
struct Codec<bool> {
  static Type type() { return {.kind = Type::Kind::boolean}; }
  static void read(const Node& node, bool& field) { field = node.boolean; }
  static Node write(bool field) { return make_boolean(field); }
};

template <std::integral T>
requires(!std::same_as<T, bool> && !std::same_as<T, char>) struct Codec<T> {
  static Type type() {
    constexpr std::int64_t lowest = std::in_range<std::int64_t>(std::numeric_limits<T>::min())
                                        ? static_cast<std::int64_t>(std::numeric_limits<T>::min())
                                        : 0;
    constexpr std::int64_t highest = std::in_range<std::int64_t>(std::numeric_limits<T>::max())
                                         ? static_cast<std::int64_t>(std::numeric_limits<T>::max())
                                         : std::numeric_limits<std::int64_t>::max();
    return {.kind = Type::Kind::integer, .lowest = lowest, .highest = highest};
  }
  static void read(const Node& node, T& field) { field = static_cast<T>(node.integer); }
  static Node write(T field) { return make_integer(static_cast<std::int64_t>(field)); }
};

template <>
struct Codec<double> {
  static Type type() { return {.kind = Type::Kind::number}; }
  static void read(const Node& node, double& field) { field = node.number; }
  static Node write(double field) { return make_number(field); }
};

template <>
struct Codec<std::string> {
  static Type type() { return {.kind = Type::Kind::text}; }
  static void read(const Node& node, std::string& field) { field = node.text; }
  static Node write(const std::string& field) { return make_text(field); }
};

template <>
struct Codec<JsonObject> {
  static Type type() { return {.kind = Type::Kind::object}; }
  static void read(const Node& node, JsonObject& field) {
    field.text = node.kind == Node::Kind::null ? "{}" : to_json(node);
  }
  static Node write(const JsonObject& field) { return from_json(field.text); }
};

template <class T>
struct Codec<std::optional<T>> {
  static Type type() {
    Type type = Codec<T>::type();
    type.nullable = true;
    return type;
  }
  static void read(const Node& node, std::optional<T>& field) {
    field.reset();
    if (node.kind != Node::Kind::null) Codec<T>::read(node, field.emplace());
  }
  static Node write(const std::optional<T>& field) {
    return field ? Codec<T>::write(*field) : make_null();
  }
};

template <class T>
struct Codec<std::vector<T>> {
  static Type type() { return {.kind = Type::Kind::list, .of = {Codec<T>::type()}}; }
  /// One text may stand for a list of one.
  static void read(const Node& node, std::vector<T>& field) {
    field.clear();
    const auto add = [&](const Node& item) {
      T value{};
      Codec<T>::read(item, value);
      field.push_back(std::move(value));
    };
    if (node.kind != Node::Kind::list) return add(node);
    for (const Node& item : node.items) add(item);
  }
  static Node write(const std::vector<T>& field) {
    std::vector<Node> items;
    for (const auto& value : field) items.push_back(Codec<T>::write(value));
    return make_list(std::move(items));
  }
};

template <class T, std::size_t N>
struct Codec<std::array<T, N>> {
  static Type type() { return {.kind = Type::Kind::list, .of = {Codec<T>::type()}, .length = N}; }
  static void read(const Node& node, std::array<T, N>& field) {
    for (std::size_t i = 0; i < N; ++i) Codec<T>::read(node.items[i], field[i]);
  }
  static Node write(const std::array<T, N>& field) {
    std::vector<Node> items;
    for (const auto& value : field) items.push_back(Codec<T>::write(value));
    return make_list(std::move(items));
  }
};

/// The index of the first alternative that the node is a value of; conforming nodes have one.
[[nodiscard]] std::size_t matching_alternative(const Node& node, const Type& either);

/// For keys like `bucket_mib: auto | 25`. The first alternative that fits is taken.
template <class... T>
struct Codec<std::variant<T...>> {
  static Type type() { return {.kind = Type::Kind::either, .of = {Codec<T>::type()...}}; }
  static void read(const Node& node, std::variant<T...>& field) {
    const std::size_t wanted = matching_alternative(node, type());
    std::size_t index = 0;
    const auto take = [&]<class U>(U value) {
      if (index++ != wanted) return;
      Codec<U>::read(node, value);
      field = std::move(value);
    };
    (take(T{}), ...);
  }
  static Node write(const std::variant<T...>& field) {
    return std::visit([]<class U>(const U& value) { return Codec<U>::write(value); }, field);
  }
};

}  // namespace trireme::config

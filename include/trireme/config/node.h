#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// Where a key or value was written. Line 0: the source is no file ("command line: a.b=1",
/// "default").
struct Place {
  std::shared_ptr<const std::string> source;
  int line = 0;
  int column = 0;
};
/// "FILE:LINE:COLUMN", or the source alone; "default" without a source.
[[nodiscard]] std::string to_string(const Place& place);

struct Member;

/// A configuration value as data, typed by the YAML 1.2 core schema, with the place it came from.
struct Node {
  enum class Kind { null, boolean, integer, number, text, list, mapping };

  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;            ///< also set for integers
  std::string text;             ///< a scalar as it was written (without quotes)
  std::vector<Node> items;      ///< of a list
  std::vector<Member> members;  ///< of a mapping, in the order of the file
  Place place;

  [[nodiscard]] const Member* find(std::string_view name) const;
  [[nodiscard]] Member* find(std::string_view name);
};

struct Member {
  std::string name;
  Place place;  ///< of the key; the value has its own
  Node value;
};

[[nodiscard]] Node make_null();
[[nodiscard]] Node make_boolean(bool value);
[[nodiscard]] Node make_integer(std::int64_t value);
[[nodiscard]] Node make_number(double value);
[[nodiscard]] Node make_text(std::string value);
[[nodiscard]] Node make_list(std::vector<Node> items);
[[nodiscard]] Node make_mapping();

/// The value as JSON on one line, keys in their order; infinities and NaN become the texts ".inf",
/// "-.inf", ".nan".
[[nodiscard]] std::string to_json(const Node& node);
/// The inverse for texts that to_json wrote (numbers that JSON cannot hold stay texts). Throws kind
/// `configuration`.
[[nodiscard]] Node from_json(std::string_view json);

}  // namespace trireme::config

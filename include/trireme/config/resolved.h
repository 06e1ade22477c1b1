#pragma once

#include <trireme/config/codec.h>
#include <trireme/config/node.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// What bind() says about a key, or about a section. Keys of list elements have paths like
/// "optim.groups[].match".
struct Declaration {
  struct Bound {
    double value = 0;
    bool exclusive = false;
  };

  std::string path;
  Type type;
  Node default_value = {};
  std::string doc = {};
  std::string unit = {};
  std::vector<Node> choices = {};
  std::optional<Bound> lower = {};
  std::optional<Bound> upper = {};
  bool identity = false;

  [[nodiscard]] bool is_section() const {
    return type.kind == Type::Kind::section && !type.nullable;
  }
};

/// A key with its value. Elements of lists of structs have paths like "optim.groups[0].match".
struct Entry {
  std::string path;
  Node value;
  std::string origin;  ///< "FILE:LINE:COLUMN", "command line: ..." or "default"
  bool identity = false;
};

/// A configuration after binding, in the order of bind().
struct Resolved {
  std::vector<Entry> entries;
  std::vector<Declaration> declarations;
  Node root;  ///< the same values as a tree; places are those of the values

  [[nodiscard]] const Entry* find(std::string_view path) const;
};

/// Reads back to the same values. With origins each key's origin follows as a comment.
[[nodiscard]] std::string to_yaml(const Resolved& resolved, bool with_origins = false);
/// The same values as nested JSON on one line.
[[nodiscard]] std::string to_json(const Resolved& resolved);

/// What `config explain KEY` prints: a key's type, default, unit, constraints and meaning, or a
/// section's keys; "" is the whole. Throws kind `configuration` with the nearest key if there is
/// none of this path.
[[nodiscard]] std::string explain(const Resolved& resolved, std::string_view path);
/// JSON Schema, draft 2020-12, indented.
[[nodiscard]] std::string json_schema(const Resolved& resolved);

/// {"path": value} of the identity keys, sorted by path, for the checkpoint.
[[nodiscard]] std::string identity_json(const Resolved& resolved);
/// {"free": {...}, "identity": {...}}, each like identity_json.
[[nodiscard]] std::string full_json(const Resolved& resolved);
/// One line "path = value" for each key, sorted: equal on two ranks exactly if all values are.
[[nodiscard]] std::string canonical_text(const Resolved& resolved);

struct Difference {
  std::string path;
  std::string old_value;  ///< as JSON, or "absent"
  std::string new_value;
};
/// Between two results of identity_json, sorted by path. 1 and 1.0 are equal. Text that is no such
/// JSON throws kind `data_damaged`.
[[nodiscard]] std::vector<Difference> identity_differences(std::string_view old_json,
                                                           std::string_view new_json);
/// Between the free keys of two results of full_json.
[[nodiscard]] std::vector<Difference> free_differences(std::string_view old_json,
                                                       std::string_view new_json);

}  // namespace trireme::config

#include <trireme/config/codec.h>
#include <trireme/core/error.h>

#include "config/conform.h"

#include <fmt/format.h>

namespace trireme::config {
namespace {

std::string name_of(const Type& type, bool several) {
  switch (type.kind) {
    case Type::Kind::boolean:
      return several ? "booleans" : "boolean";
    case Type::Kind::integer:
      return several ? "integers" : "integer";
    case Type::Kind::number:
      return several ? "numbers" : "number";
    case Type::Kind::text:
      return several ? "texts" : "text";
    case Type::Kind::object:
      return several ? "mappings with any keys" : "mapping with any keys";
    case Type::Kind::section:
      return several ? "mappings" : "mapping";
    case Type::Kind::list:
      return fmt::format("{} of {}{}", several ? "lists" : "list",
                         type.length == 0 ? "" : fmt::format("{} ", type.length),
                         name_of(type.of[0], true));
    case Type::Kind::either: {
      std::string names;
      for (const Type& one : type.of)
        names += (names.empty() ? "" : " or ") + name_of(one, several);
      return names;
    }
  }
  return "unknown";
}

}  // namespace

std::string to_string(const Type& type) {
  return name_of(type, false) + (type.nullable ? " or null" : "");
}

std::size_t matching_alternative(const Node& node, const Type& either) {
  std::vector<Problem> ignored;
  for (std::size_t i = 0; i < either.of.size(); ++i) {
    if (conforms(node, either.of[i], "", ignored)) return i;
  }
  check(false, "a conforming node has an alternative");
  return 0;
}

}  // namespace trireme::config

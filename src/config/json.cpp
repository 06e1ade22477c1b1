#include <trireme/config/node.h>
#include <trireme/core/error.h>

#include "config/scalar.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::config {
namespace {

constexpr int deepest_json = 64;

void append(const Node& node, std::string& out) {
  switch (node.kind) {
    case Node::Kind::null:
      out += "null";
      return;
    case Node::Kind::boolean:
      out += node.boolean ? "true" : "false";
      return;
    case Node::Kind::integer:
      out += fmt::format("{}", node.integer);
      return;
    case Node::Kind::number: {
      const std::string text = number_text(node.number);
      out += std::isfinite(node.number) ? text : in_quotes(text);
      return;
    }
    case Node::Kind::text:
      out += in_quotes(node.text);
      return;
    case Node::Kind::list: {
      out += '[';
      const char* separator = "";
      for (const Node& item : node.items) {
        out += separator;
        append(item, out);
        separator = ", ";
      }
      out += ']';
      return;
    }
    case Node::Kind::mapping: {
      out += '{';
      const char* separator = "";
      for (const Member& member : node.members) {
        out += separator + in_quotes(member.name) + ": ";
        append(member.value, out);
        separator = ", ";
      }
      out += '}';
      return;
    }
  }
}

Node node_of(const nlohmann::ordered_json& json, int depth) {
  using Kind = nlohmann::ordered_json::value_t;
  if (depth > deepest_json) {
    throw Error(ErrorKind::configuration,
                fmt::format("JSON is nested more than {} levels deep", deepest_json));
  }
  switch (json.type()) {
    case Kind::boolean:
      return make_boolean(json.get<bool>());
    case Kind::number_integer:
    case Kind::number_unsigned:
      // An unsigned number above the range of int64 cannot come from to_json; it is kept as a
      // double.
      if (json.is_number_unsigned() && !std::in_range<std::int64_t>(json.get<std::uint64_t>())) {
        return make_number(json.get<double>());
      }
      return make_integer(json.get<std::int64_t>());
    case Kind::number_float:
      return make_number(json.get<double>());
    case Kind::string:
      return make_text(json.get<std::string>());
    case Kind::array: {
      std::vector<Node> items;
      for (const auto& item : json) items.push_back(node_of(item, depth + 1));
      return make_list(std::move(items));
    }
    case Kind::object: {
      Node node = make_mapping();
      for (const auto& [name, value] : json.items()) {
        node.members.push_back({name, {}, node_of(value, depth + 1)});
      }
      return node;
    }
    default:
      return make_null();
  }
}

}  // namespace

std::string to_json(const Node& node) {
  std::string out;
  append(node, out);
  return out;
}

Node from_json(std::string_view json) {
  try {
    return node_of(nlohmann::ordered_json::parse(json), 0);
  } catch (const nlohmann::json::exception& error) {
    throw Error(ErrorKind::configuration, fmt::format("not valid JSON: {}", error.what()));
  }
}

}  // namespace trireme::config

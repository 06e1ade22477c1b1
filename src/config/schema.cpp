#include <trireme/config/resolved.h>
#include <trireme/core/error.h>

#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::config {
namespace {

using Json = nlohmann::ordered_json;

Json closed_object() {
  return {{"type", "object"}, {"properties", Json::object()}, {"additionalProperties", false}};
}

Json bound_json(double value) {
  // Whole bounds stay whole, so that integer keys have integer bounds.
  if (value == std::floor(value) && std::abs(value) < 9e15) return static_cast<std::int64_t>(value);
  return value;
}

bool is_text(const Node& node) {
  return node.kind == Node::Kind::text;
}

/// Constraints belong to the scalar kinds that they concern, as is_allowed() has it.
void add_constraints(Json& schema, Type::Kind kind, const Declaration& key) {
  const bool is_number = kind == Type::Kind::integer || kind == Type::Kind::number;
  if (!key.choices.empty() && (is_number || kind == Type::Kind::text) &&
      is_text(key.choices[0]) == (kind == Type::Kind::text)) {
    for (const Node& choice : key.choices) schema["enum"].push_back(Json::parse(to_json(choice)));
  }
  if (!is_number) return;
  if (key.lower)
    schema[key.lower->exclusive ? "exclusiveMinimum" : "minimum"] = bound_json(key.lower->value);
  if (key.upper)
    schema[key.upper->exclusive ? "exclusiveMaximum" : "maximum"] = bound_json(key.upper->value);
}

Json type_schema(const Type& type, const Declaration& key) {
  Json schema;
  switch (type.kind) {
    case Type::Kind::boolean:
      schema["type"] = "boolean";
      break;
    case Type::Kind::integer:
      schema["type"] = "integer";
      break;
    case Type::Kind::number:
      schema["type"] = "number";
      break;
    case Type::Kind::text:
      schema["type"] = "string";
      break;
    case Type::Kind::object:
      schema["type"] = "object";
      break;
    case Type::Kind::section:
      schema = closed_object();
      break;
    case Type::Kind::list: {
      schema = {{"type", "array"}, {"items", type_schema(type.of[0], key)}};
      if (type.length != 0) schema["minItems"] = schema["maxItems"] = type.length;
      if (type.length == 0 && type.of[0].kind == Type::Kind::text) {
        schema = {{"anyOf", Json::array({type_schema(type.of[0], key), schema})}};
      }
      break;
    }
    case Type::Kind::either:
      for (const Type& one : type.of) schema["anyOf"].push_back(type_schema(one, key));
      break;
  }
  add_constraints(schema, type.kind, key);
  if (!type.nullable) return schema;
  return {{"anyOf", Json::array({schema, {{"type", "null"}}})}};
}

/// The "properties" that a path's last name goes into: through sections, list items and optional
/// structs.
Json& properties_of(Json& object) {
  if (object.contains("items")) return properties_of(object["items"]);
  if (object.contains("anyOf")) return properties_of(object["anyOf"][0]);
  check(object.contains("properties"), "keys of a section are declared after it");
  return object["properties"];
}

}  // namespace

std::string json_schema(const Resolved& resolved) {
  Json root = {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
               {"title", "Trireme configuration"}};
  root.update(closed_object());
  root["properties"]["extends"] = {
      {"type", "string"}, {"description", "a file that this one completes, relative to it"}};
  for (const Declaration& key : resolved.declarations) {
    Json* object = &root;
    std::string_view path = key.path;
    for (std::size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
      std::string name(path.substr(0, dot));
      if (name.ends_with("[]")) name.resize(name.size() - 2);
      object = &properties_of(*object)[name];
      path.remove_prefix(dot + 1);
    }
    Json schema = type_schema(key.type, key);
    const std::string unit = key.unit.empty() ? "" : fmt::format(" [{}]", key.unit);
    if (!key.doc.empty() || !unit.empty()) schema["description"] = key.doc + unit;
    if (!key.is_section()) schema["default"] = Json::parse(to_json(key.default_value));
    properties_of(*object)[std::string(path)] = std::move(schema);
  }
  return root.dump(2) + "\n";
}

}  // namespace trireme::config

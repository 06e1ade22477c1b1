#include <trireme/config/node.h>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::config {

std::string to_string(const Place& place) {
  if (!place.source) return "default";
  if (place.line == 0) return *place.source;
  return fmt::format("{}:{}:{}", *place.source, place.line, place.column);
}

const Member* Node::find(std::string_view name) const {
  const auto found = std::ranges::find(members, name, &Member::name);
  return found == members.end() ? nullptr : &*found;
}

Member* Node::find(std::string_view name) {
  return const_cast<Member*>(std::as_const(*this).find(name));
}

namespace {
Node of_kind(Node::Kind kind) {
  Node node;
  node.kind = kind;
  return node;
}
}  // namespace

Node make_null() {
  return of_kind(Node::Kind::null);
}

Node make_boolean(bool value) {
  Node node = of_kind(Node::Kind::boolean);
  node.boolean = value;
  return node;
}

Node make_integer(std::int64_t value) {
  Node node = of_kind(Node::Kind::integer);
  node.integer = value;
  node.number = static_cast<double>(value);
  return node;
}

Node make_number(double value) {
  Node node = of_kind(Node::Kind::number);
  node.number = value;
  return node;
}

Node make_text(std::string value) {
  Node node = of_kind(Node::Kind::text);
  node.text = std::move(value);
  return node;
}

Node make_list(std::vector<Node> items) {
  Node node = of_kind(Node::Kind::list);
  node.items = std::move(items);
  return node;
}

Node make_mapping() {
  return of_kind(Node::Kind::mapping);
}

}  // namespace trireme::config

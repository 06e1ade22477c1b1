#include "config/override.h"

#include "config/merge.h"
#include "config/yaml.h"

#include <charconv>
#include <memory>
#include <optional>
#include <utility>

#include <fmt/format.h>

namespace trireme::config {
namespace {

/// "groups[0]" is the steps "groups" and 0.
struct Step {
  std::string name;
  std::optional<std::size_t> index;
};

bool is_name(std::string_view text) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

bool split_part(std::string_view part, std::vector<Step>& steps) {
  const std::string_view name = part.substr(0, part.find('['));
  if (!is_name(name)) return false;
  steps.push_back({std::string(name), std::nullopt});
  part.remove_prefix(name.size());
  while (!part.empty()) {
    const std::size_t close = part.find(']');
    if (part[0] != '[' || close == std::string_view::npos || close == 1) return false;
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(part.data() + 1, part.data() + close, index);
    if (error != std::errc() || end != part.data() + close) return false;
    steps.push_back({"", index});
    part.remove_prefix(close + 1);
  }
  return true;
}

/// Empty if the path is malformed.
std::vector<Step> split(std::string_view path) {
  std::vector<Step> steps;
  while (true) {
    const std::size_t dot = path.find('.');
    if (!split_part(path.substr(0, dot), steps)) return {};
    if (dot == std::string_view::npos) return steps;
    path.remove_prefix(dot + 1);
  }
}

void set_place(Node& node, const Place& place) {
  node.place = place;
  for (Node& item : node.items) set_place(item, place);
  for (Member& member : node.members) {
    member.place = place;
    set_place(member.value, place);
  }
}

/// The node that the steps lead to, created if need be; null if a list on the way has no such
/// element.
Node* reach(Node& root, const std::vector<Step>& steps, const Place& place) {
  Node* node = &root;
  for (const Step& step : steps) {
    if (step.index) {
      if (node->kind != Node::Kind::list || *step.index > node->items.size()) return nullptr;
      if (*step.index == node->items.size()) node->items.emplace_back();
      node = &node->items[*step.index];
      continue;
    }
    if (node->kind != Node::Kind::mapping) {
      *node = make_mapping();
      node->place = place;
    }
    Member* member = node->find(step.name);
    if (!member) member = &node->members.emplace_back(Member{step.name, place, {}});
    member->place = place;
    node = &member->value;
  }
  return node;
}

Node value_of(std::string_view text, std::vector<Problem>& problems) {
  // On the command line there are no anchors, so *.h5 can only be a glob.
  if (text.starts_with('*')) return make_text(std::string(text));
  Node value = parse_yaml(text, "value", problems);
  if (value.kind == Node::Kind::null && text.find_first_not_of(" \t") != std::string_view::npos &&
      text[text.find_first_not_of(" \t")] == '#') {
    problems.push_back({value.place, "", "the value is only a comment", "put it in quotes"});
  }
  return value;
}

}  // namespace

void apply_override(Node& root, const std::string& assignment, std::vector<Problem>& problems) {
  const Place place{std::make_shared<const std::string>("command line: " + assignment), 0, 0};
  const std::size_t equals = assignment.find('=');
  const std::string path = assignment.substr(0, equals);
  const std::vector<Step> steps = split(path);
  if (equals == std::string::npos || steps.empty()) {
    problems.push_back(
        {place, "", "malformed override", "write key.path=value, e.g. optim.lr=1e-3"});
    return;
  }

  std::vector<Problem> in_value;
  Node value;
  try {
    value = value_of(std::string_view(assignment).substr(equals + 1), in_value);
  } catch (const Error& error) {
    in_value = {{{}, "", error.message(), error.hint()}};
  }
  for (Problem& problem : in_value) {
    problems.push_back(
        {place, path, "malformed value: " + problem.message, std::move(problem.hint)});
  }
  if (!in_value.empty()) return;

  set_place(value, place);
  Node changed = root;  // a refused override leaves nothing behind
  Node* target = reach(changed, steps, place);
  if (!target) {
    problems.push_back(
        {place, path, "there is no such list element in the file",
         "indices count from 0 and may add one element at the end; or give the whole list"});
    return;
  }
  merge(*target, std::move(value));
  root = std::move(changed);
}

}  // namespace trireme::config

#include <trireme/config/resolved.h>
#include <trireme/core/error.h>

#include "config/conform.h"
#include "config/nearest.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace trireme::config {
namespace {

/// "optim.groups[0].match" is declared as "optim.groups[].match".
std::string declared_path(std::string_view path) {
  std::string out;
  bool in_index = false;
  for (const char c : path) {
    if (c == ']') in_index = false;
    if (!in_index) out += c;
    if (c == '[') in_index = true;
  }
  return out;
}

const Declaration* find(const Resolved& resolved, std::string_view path) {
  const auto found = std::ranges::find(resolved.declarations, path, &Declaration::path);
  return found == resolved.declarations.end() ? nullptr : &*found;
}

/// The part of the path below the section, empty if it is not directly below.
std::string_view name_below(std::string_view path, std::string_view section) {
  if (!section.empty()) {
    if (!path.starts_with(section)) return {};
    path.remove_prefix(section.size());
    if (path.starts_with("[]")) path.remove_prefix(2);
    if (!path.starts_with('.')) return {};
    path.remove_prefix(1);
  }
  return path.find('.') == std::string_view::npos ? path : std::string_view();
}

std::string value_text(const Node& node) {
  return node.kind == Node::Kind::text ? fmt::format("'{}'", node.text) : to_json(node);
}

std::string keys_of(const Resolved& resolved, std::string_view section) {
  std::string out;
  for (const Declaration& key : resolved.declarations) {
    const std::string_view name = name_below(key.path, section);
    if (name.empty()) continue;
    const std::string kind = key.is_section() ? "section"
                                              : fmt::format("{}, default {}", to_string(key.type),
                                                            value_text(key.default_value));
    out += fmt::format("  {:<20} {}{}{}\n", name, kind, key.doc.empty() ? "" : ": ", key.doc);
  }
  return out;
}

std::string explain_key(const Resolved& resolved, const Declaration& key, std::string_view path) {
  std::string out = fmt::format("{}\n", path);
  const auto line = [&](std::string_view label, const std::string& text) {
    if (!text.empty()) out += fmt::format("  {:<9} {}\n", label, text);
  };
  line("meaning:", key.doc);
  if (key.is_section()) return out + "keys:\n" + keys_of(resolved, key.path);
  line("type:", to_string(key.type));
  line("default:", value_text(key.default_value));
  line("unit:", key.unit);
  line("allowed:", constraints_text(key));
  line("resume:", key.identity ? "identity: a resume is refused if this differs"
                               : "free: may differ at a resume");
  const Entry* entry = resolved.find(path);
  if (entry && entry->origin != "default") {
    line("value:", fmt::format("{}  ({})", value_text(entry->value), entry->origin));
  }
  const std::string keys = keys_of(resolved, key.path);
  return keys.empty() ? out : out + "keys:\n" + keys;
}

}  // namespace

std::string explain(const Resolved& resolved, std::string_view path) {
  if (path.empty()) return "keys:\n" + keys_of(resolved, "");
  const std::string declared = declared_path(path);
  // An element of a list of scalars is explained by its list.
  std::string_view listed = declared;
  const Declaration* key = find(resolved, listed);
  while (!key && listed.ends_with("[]")) {
    listed.remove_suffix(2);
    key = find(resolved, listed);
  }
  if (key) return explain_key(resolved, *key, path);

  std::vector<std::string> all;
  for (const Declaration& one : resolved.declarations) all.push_back(one.path);
  std::string near = nearest(declared, all);
  if (near.empty()) {  // "lr" for "optim.lr"
    const auto same_name = std::ranges::find_if(
        all, [&](const std::string& one) { return one.ends_with("." + declared); });
    if (same_name != all.end()) near = *same_name;
  }
  throw Error(ErrorKind::configuration, fmt::format("there is no key '{}'", path),
              near.empty() ? "trireme config explain lists the sections"
                           : fmt::format("did you mean '{}'?", near));
}

}  // namespace trireme::config

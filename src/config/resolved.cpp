#include <trireme/config/resolved.h>
#include <trireme/core/error.h>

#include "config/scalar.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace trireme::config {
namespace {

std::map<std::string, std::string> by_path(const Resolved& resolved, bool identity) {
  std::map<std::string, std::string> values;
  for (const Entry& entry : resolved.entries) {
    if (entry.identity == identity) values[entry.path] = to_json(entry.value);
  }
  return values;
}

std::string object_of(const std::map<std::string, std::string>& values) {
  std::string out = "{";
  for (const auto& [path, value] : values) {
    out += fmt::format("{}{}: {}", out.size() > 1 ? ", " : "", in_quotes(path), value);
  }
  return out + "}";
}

nlohmann::json parse_object(std::string_view text) {
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object()) {
    throw Error(ErrorKind::data_damaged, "the recorded configuration is no JSON object",
                "the file that it comes from is damaged");
  }
  return json;
}

std::vector<Difference> differences(const nlohmann::json& before, const nlohmann::json& after) {
  const auto text = [](const nlohmann::json& object, const std::string& path) {
    return object.contains(path) ? to_json(from_json(object[path].dump())) : "absent";
  };
  std::map<std::string, Difference> found;
  const auto compare = [&](const std::string& path) {
    if (before.contains(path) && after.contains(path) && before[path] == after[path]) return;
    found[path] = {path, text(before, path), text(after, path)};
  };
  for (const auto& item : before.items()) compare(item.key());
  for (const auto& item : after.items()) compare(item.key());
  std::vector<Difference> list;
  for (auto& [path, difference] : found) list.push_back(std::move(difference));
  return list;
}

}  // namespace

const Entry* Resolved::find(std::string_view path) const {
  const auto found = std::ranges::find(entries, path, &Entry::path);
  return found == entries.end() ? nullptr : &*found;
}

std::string to_json(const Resolved& resolved) {
  return to_json(resolved.root);
}

std::string identity_json(const Resolved& resolved) {
  return object_of(by_path(resolved, true));
}

std::string full_json(const Resolved& resolved) {
  return fmt::format(R"({{"free": {}, "identity": {}}})", object_of(by_path(resolved, false)),
                     object_of(by_path(resolved, true)));
}

std::string canonical_text(const Resolved& resolved) {
  std::map<std::string, std::string> values = by_path(resolved, true);
  values.merge(by_path(resolved, false));
  std::string out;
  for (const auto& [path, value] : values) out += fmt::format("{} = {}\n", path, value);
  return out;
}

std::vector<Difference> identity_differences(std::string_view old_json, std::string_view new_json) {
  return differences(parse_object(old_json), parse_object(new_json));
}

std::vector<Difference> free_differences(std::string_view old_json, std::string_view new_json) {
  const auto part = [](std::string_view text) {
    const nlohmann::json all = parse_object(text);
    return parse_object(all.contains("free") ? all["free"].dump() : "");
  };
  return differences(part(old_json), part(new_json));
}

}  // namespace trireme::config

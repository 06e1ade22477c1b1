#include "config/session.h"

#include <trireme/config/load.h>

#include "config/nearest.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace trireme::config {
namespace {

/// "lr" where the key is "optim.lr".
std::string_view last_name(std::string_view path) {
  const std::size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

std::string hint_for(const Session::Unknown& unknown,
                     const std::vector<Declaration>& declarations) {
  if (unknown.name == "extends") return "extends stands at the top of a file";
  if (unknown.name == "<<") return "YAML 1.2 has no merge keys; use extends";
  // The very name in another section is a better guess than a similar one in this.
  for (const Declaration& key : declarations) {
    if (last_name(key.path) == unknown.name) return fmt::format("did you mean '{}'?", key.path);
  }
  const std::string near = nearest(unknown.name, unknown.siblings);
  if (!near.empty()) return fmt::format("did you mean '{}'?", near);
  const std::string where = unknown.section.empty() ? "the top level" : unknown.section;
  if (unknown.siblings.empty()) return fmt::format("{} has no keys", where);
  return fmt::format("keys of {}: {}", where, fmt::join(unknown.siblings, ", "));
}

}  // namespace

void Session::run(const Node& root, const std::function<void(Binder&)>& bind) {
  Binder binder(*this, &root, "", "", false);
  bind(binder);
  binder.report_unknown();
  resolved.root = std::move(binder.output_);
}

std::size_t Session::add(Declaration declaration) {
  const auto [at, is_new] = index_.try_emplace(declaration.path, resolved.declarations.size());
  if (!is_new) return npos;
  resolved.declarations.push_back(std::move(declaration));
  return at->second;
}

void Session::report_unknown() {
  for (const Unknown& one : unknown) {
    problems.push_back({one.place, one.path, "unknown key", hint_for(one, resolved.declarations)});
  }
  unknown.clear();
}

Resolved resolve(const Document& document, const std::function<void(Binder&)>& bind) {
  Session session(document.problems());
  try {
    session.run(document.root(), bind);
  } catch (const Error& error) {
    // A bind() that refuses a value by throwing ends the pass; what was found so far is still told.
    if (error.kind() != ErrorKind::configuration || session.problems.empty()) throw;
    session.problems.push_back({{}, "", error.message(), error.hint()});
    throw to_error(std::move(session.problems));
  }
  session.report_unknown();
  if (!session.problems.empty()) throw to_error(std::move(session.problems));
  return std::move(session.resolved);
}

Resolved describe(const std::function<void(Binder&)>& bind) {
  Session session({});
  session.run(make_mapping(), bind);
  return std::move(session.resolved);
}

}  // namespace trireme::config

#include <trireme/config/binder.h>

#include "config/conform.h"
#include "config/session.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::config {
namespace {

std::string join_path(const std::string& section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

}  // namespace

struct Key::Pending {
  Binder* binder;
  std::string name;
  std::string path;
  Declaration declaration;
  std::size_t declared_at = Session::npos;
  const Node* given = nullptr;  // what the document says, if it conforms
  bool is_wrong = false;        // the document has the key, but not with a value of its type
  std::optional<Binder::Slot> slot;
  std::size_t first_entry = 0;  // of a list of structs: its elements' entries and declarations
  std::size_t first_declaration = 0;
  std::optional<Node> output;  // of a list of structs: already known
};

Key::Key(std::unique_ptr<Pending> pending) : pending_(std::move(pending)) {}

Key& Key::doc(std::string_view text) {
  pending_->declaration.doc = text;
  return *this;
}

Key& Key::unit(std::string_view text) {
  pending_->declaration.unit = text;
  return *this;
}

Key& Key::one_of(std::initializer_list<Choice> choices) {
  pending_->declaration.choices.clear();
  for (const Choice& choice : choices) pending_->declaration.choices.push_back(choice.node);
  return *this;
}

Key& Key::one_of(const std::vector<std::string>& choices) {
  pending_->declaration.choices.clear();
  for (const std::string& choice : choices)
    pending_->declaration.choices.push_back(make_text(choice));
  return *this;
}

Key& Key::set_lower(double bound, bool exclusive) {
  pending_->declaration.lower = {bound, exclusive};
  return *this;
}

Key& Key::set_upper(double bound, bool exclusive) {
  pending_->declaration.upper = {bound, exclusive};
  return *this;
}

Key& Key::identity() {
  pending_->declaration.identity = true;
  return *this;
}

Key::~Key() {
  Pending& pending = *pending_;
  Binder& binder = *pending.binder;
  Session& session = binder.session_;
  Resolved& resolved = session.resolved;
  const Declaration& key = pending.declaration;
  if (pending.declared_at != Session::npos) resolved.declarations[pending.declared_at] = key;
  if (key.identity && !pending.slot) {
    const auto mark = [](auto& list, std::size_t from) {
      for (std::size_t i = from; i < list.size(); ++i) list[i].identity = true;
    };
    mark(resolved.entries, pending.first_entry);
    mark(resolved.declarations, pending.first_declaration);
  }
  // A default that breaks its own constraint makes the key one that has to be given.
  const Node& effective = pending.given ? *pending.given : key.default_value;
  if (pending.slot && !binder.describing_ && !pending.is_wrong &&
      !is_allowed(effective, key, pending.path, session.problems)) {
    pending.slot->read(key.default_value, pending.slot->field);
    if (!pending.given)
      session.problems.back().message += ", and it is the default: the key must be given";
  }

  Node value =
      pending.output ? std::move(*pending.output) : pending.slot->write(pending.slot->field);
  if (pending.given) value.place = pending.given->place;
  const bool has_elements = pending.output && resolved.entries.size() > pending.first_entry;
  if (!has_elements && !binder.describing_) {
    resolved.entries.push_back({pending.path, value, to_string(value.place), key.identity});
  }
  binder.output_.members.push_back({pending.name, {}, std::move(value)});
}

Binder::Binder(Session& session, const Node* given, std::string path, std::string declared_path,
               bool describing)
    : session_(session),
      given_(given),
      path_(std::move(path)),
      declared_path_(std::move(declared_path)),
      describing_(describing),
      output_(make_mapping()) {
  if (given_) output_.place = given_->place;
}

const Node* Binder::take(std::string_view name) {
  constexpr std::string_view allowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  check(!name.empty() && name.find_first_not_of(allowed) == std::string_view::npos,
        fmt::format("'{}' is a key of letters, digits, - and _", name));
  check(std::ranges::find(names_, name) == names_.end(),
        fmt::format("bind() declares {} once", join_path(path_, name)));
  names_.emplace_back(name);
  const Member* member = given_ ? given_->find(name) : nullptr;
  return member ? &member->value : nullptr;
}

Key Binder::declare(std::string_view name, Type type, Slot slot) {
  auto pending = std::make_unique<Key::Pending>();
  const Node* given = take(name);
  pending->binder = this;
  pending->name = name;
  pending->path = join_path(path_, name);
  pending->slot = slot;
  pending->declaration = {.path = join_path(declared_path_, name),
                          .type = std::move(type),
                          .default_value = slot.write(slot.field)};
  pending->declared_at = session_.add(pending->declaration);
  pending->is_wrong =
      given && !conforms(*given, pending->declaration.type, pending->path, session_.problems);
  if (given && !pending->is_wrong) {
    pending->given = given;
    slot.read(*given, slot.field);
  }
  return Key(std::move(pending));
}

Key Binder::declare_structs(std::string_view name, const Structs& structs) {
  auto pending = std::make_unique<Key::Pending>();
  const Node* given = take(name);
  pending->binder = this;
  pending->name = name;
  pending->path = join_path(path_, name);
  const Type element{.kind = Type::Kind::section, .nullable = structs.optional};
  pending->declaration.path = join_path(declared_path_, name);
  pending->declaration.type =
      structs.optional ? element : Type{.kind = Type::Kind::list, .of = {element}};
  pending->declared_at = session_.add(pending->declaration);
  pending->first_entry = session_.resolved.entries.size();
  pending->first_declaration = session_.resolved.declarations.size();

  const std::string declared = pending->declaration.path + (structs.optional ? "" : "[]");
  const auto bind_one = [&](const std::string& path, const Node* from, bool describing,
                            const std::function<void(Binder&)>& bind) {
    return bind_inner(path, declared, from, describing, bind);
  };
  const auto whole = [&](std::vector<Node> elements) {
    if (!structs.optional) return make_list(std::move(elements));
    return elements.empty() ? make_null() : std::move(elements[0]);
  };
  bind_one(declared, nullptr, true, structs.bind_any);
  std::vector<Node> defaults;
  for (std::size_t i = 0; i < structs.present; ++i) {
    defaults.push_back(bind_one(declared, nullptr, true, [&](Binder& b) { structs.bind(b, i); }));
  }
  pending->declaration.default_value = whole(std::move(defaults));

  std::size_t count = structs.present;
  if (given && conforms(*given, pending->declaration.type, pending->path, session_.problems)) {
    pending->given = given;
    const bool is_mapping = given->kind == Node::Kind::mapping;
    count = structs.optional ? (is_mapping ? 1 : 0) : given->items.size();
    structs.resize(count);
  }
  std::vector<Node> elements;
  for (std::size_t i = 0; i < (describing_ ? 0 : count); ++i) {
    const Node* from = pending->given;
    if (from && !structs.optional) from = &given->items[i];
    elements.push_back(
        bind_one(structs.optional ? pending->path : fmt::format("{}[{}]", pending->path, i), from,
                 false, [&](Binder& b) { structs.bind(b, i); }));
  }
  pending->output = describing_ ? pending->declaration.default_value : whole(std::move(elements));
  return Key(std::move(pending));
}

void Binder::nest(std::string_view name, std::string_view doc,
                  const std::function<void(Binder&)>& bind) {
  const Type type{.kind = Type::Kind::section};
  const std::string path = join_path(path_, name);
  const std::string declared_path = join_path(declared_path_, name);
  session_.add({.path = declared_path, .type = type, .doc = std::string(doc)});
  const Node* given = take(name);
  if (given &&
      (given->kind == Node::Kind::null || !conforms(*given, type, path, session_.problems))) {
    given = nullptr;
  }
  output_.members.push_back(
      {std::string(name), {}, bind_inner(path, declared_path, given, describing_, bind)});
}

Node Binder::bind_inner(const std::string& path, const std::string& declared_path,
                        const Node* given, bool describing,
                        const std::function<void(Binder&)>& bind) {
  Binder inner(session_, given, path, declared_path, describing);
  bind(inner);
  inner.report_unknown();
  return std::move(inner.output_);
}

void Binder::report_unknown() const {
  if (!given_) return;
  for (const Member& member : given_->members) {
    if (std::ranges::find(names_, member.name) != names_.end()) continue;
    session_.unknown.push_back(
        {member.place, join_path(path_, member.name), member.name, path_, names_});
  }
}

void Binder::refuse(std::string_view name, std::string_view message, std::string_view hint) {
  if (describing_) return;
  const Member* member = given_ ? given_->find(name) : nullptr;
  session_.problems.push_back({member ? member->value.place : Place{}, join_path(path_, name),
                               std::string(message), std::string(hint)});
}

}  // namespace trireme::config

#pragma once

#include <trireme/config/codec.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace trireme::config {

class Binder;
class Session;

/// A value that a key may be restricted to.
struct Choice {
  Choice(const char* text) : node(make_text(text)) {}
  Choice(std::string_view text) : node(make_text(std::string(text))) {}
  Choice(const std::string& text) : node(make_text(text)) {}
  template <std::integral T>
  Choice(T value) : node(make_integer(static_cast<std::int64_t>(value))) {}
  Node node;
};

/// A key that bind() is declaring. The field already has its value while this lives; at the end of
/// the statement the constraints are checked, and a value that breaks one is reported and taken
/// back (the field has its default again). Constraints hold for each element of a list; ranges
/// concern numbers, one_of the kind of value that it lists.
class Key {
 public:
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key();

  Key& doc(std::string_view text);
  Key& unit(std::string_view text);
  Key& one_of(std::initializer_list<Choice> choices);
  Key& one_of(const std::vector<std::string>& choices);
  template <class N>
  Key& at_least(N bound) {
    return set_lower(static_cast<double>(bound), false);
  }
  template <class N>
  Key& above(N bound) {
    return set_lower(static_cast<double>(bound), true);
  }
  template <class N>
  Key& at_most(N bound) {
    return set_upper(static_cast<double>(bound), false);
  }
  template <class N>
  Key& below(N bound) {
    return set_upper(static_cast<double>(bound), true);
  }
  /// A difference in this key refuses a resume. For a list of structs and an optional struct: in
  /// any key of theirs.
  Key& identity();

 private:
  friend class Binder;
  struct Pending;
  explicit Key(std::unique_ptr<Pending> pending);
  Key& set_lower(double bound, bool exclusive);
  Key& set_upper(double bound, bool exclusive);
  std::unique_ptr<Pending> pending_;
};

/// What the `template <class B> void bind(B& b)` of a configuration struct talks to. One pass over
/// bind() both declares the keys and assigns the fields from the document, in the order of the
/// calls, so a bind() may branch on a field that it has bound already. What the document lacks
/// keeps the value that the field has, its default. Wrong input is collected, not thrown: bind()
/// always runs to its end.
class Binder {
 public:
  Binder(const Binder&) = delete;
  Binder& operator=(const Binder&) = delete;

  /// Field types: see Codec, and std::vector and std::optional of structs with a bind() of their
  /// own.
  template <class T>
  Key key(std::string_view name, T& field);

  /// Nests a struct that has a bind(). A section may be left out or be null in the file: all of it
  /// keeps its defaults.
  template <class S>
  void section(std::string_view name, S& fields, std::string_view doc = {}) {
    nest(name, doc, [&fields](Binder& inner) { fields.bind(inner); });
  }

  /// Reports a problem of a key of this struct that its constraints cannot express, at the place
  /// where the key was written.
  void refuse(std::string_view name, std::string_view message, std::string_view hint = {});

 private:
  friend class Key;
  friend class Session;

  struct Slot {  ///< a scalar or a list of scalars
    void* field;
    void (*read)(const Node&, void*);
    Node (*write)(const void*);
  };
  struct Structs {  ///< a list of structs, or at most one
    bool optional;
    std::size_t present;                             ///< how many the default has
    std::function<void(std::size_t)> resize;         ///< replaces all by so many default ones
    std::function<void(Binder&, std::size_t)> bind;  ///< binds one of them
    std::function<void(Binder&)> bind_any;  ///< binds a throw-away one, to describe its keys
  };

  Binder(Session& session, const Node* given, std::string path, std::string declared_path,
         bool describing);
  Key declare(std::string_view name, Type type, Slot slot);
  Key declare_structs(std::string_view name, const Structs& structs);
  void nest(std::string_view name, std::string_view doc, const std::function<void(Binder&)>& bind);
  Node bind_inner(const std::string& path, const std::string& declared_path, const Node* given,
                  bool describing, const std::function<void(Binder&)>& bind);
  const Node* take(std::string_view name);
  void report_unknown() const;

  Session& session_;
  const Node* given_;          // a mapping, or null where the document says nothing
  std::string path_;           // "optim.groups[0]"
  std::string declared_path_;  // "optim.groups[]"
  bool describing_;            // a throw-away struct: declares, but has no value
  std::vector<std::string> names_;
  Node output_;
};

template <class T>
concept Bindable = std::is_class_v<T> && requires(T& fields, Binder& b) {
  fields.bind(b);
};

namespace detail {
template <class T>
inline constexpr bool is_struct_list = false;
template <Bindable T>
inline constexpr bool is_struct_list<std::vector<T>> = true;
template <class T>
inline constexpr bool is_optional_struct = false;
template <Bindable T>
inline constexpr bool is_optional_struct<std::optional<T>> = true;
}  // namespace detail

template <class T>
Key Binder::key(std::string_view name, T& field) {
  if constexpr (detail::is_struct_list<T>) {
    using S = typename T::value_type;
    return declare_structs(name, {.optional = false,
                                  .present = field.size(),
                                  .resize = [&](std::size_t count) { field = T(count); },
                                  .bind = [&](Binder& b, std::size_t i) { field[i].bind(b); },
                                  .bind_any =
                                      [](Binder& b) {
                                        S().bind(b);
                                      }});
  } else if constexpr (detail::is_optional_struct<T>) {
    using S = typename T::value_type;
    return declare_structs(name, {.optional = true,
                                  .present = field.has_value() ? std::size_t{1} : 0,
                                  .resize =
                                      [&](std::size_t count) {
                                        field.reset();
                                        if (count > 0) field.emplace();
                                      },
                                  .bind = [&](Binder& b, std::size_t) { field->bind(b); },
                                  .bind_any =
                                      [](Binder& b) {
                                        S().bind(b);
                                      }});
  } else {
    return declare(
        name, Codec<T>::type(),
        {.field = &field,
         .read = [](const Node& node, void* to) { Codec<T>::read(node, *static_cast<T*>(to)); },
         .write =
             [](const void* from) {
               return Codec<T>::write(*static_cast<const T*>(from));
             }});
  }
}

}  // namespace trireme::config

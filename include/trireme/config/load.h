#pragma once

#include <trireme/config/binder.h>
#include <trireme/config/document.h>
#include <trireme/config/resolved.h>

#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::config {

/// Runs bind against the document; throws one Error (kind `configuration`) that lists every
/// problem.
[[nodiscard]] Resolved resolve(const Document& document, const std::function<void(Binder&)>& bind);
/// Declarations and defaults alone, for `config explain` and `config schema` without a file.
[[nodiscard]] Resolved describe(const std::function<void(Binder&)>& bind);

template <class T>
struct Loaded {
  T value;
  Resolved resolved;
};

template <class T>
[[nodiscard]] Loaded<T> bind_document(const Document& document) {
  Loaded<T> loaded;
  loaded.resolved = resolve(document, [&](Binder& b) { loaded.value.bind(b); });
  return loaded;
}

/// The file, what it extends, then the overrides "key.path=value".
template <class T>
[[nodiscard]] Loaded<T> load(const std::string& file,
                             const std::vector<std::string>& overrides = {}) {
  Document document = Document::load(file);
  document.apply(overrides);
  return bind_document<T>(document);
}

/// `name` takes the place of the file's name in messages.
template <class T>
[[nodiscard]] Loaded<T> load_text(std::string_view text, const std::string& name = "text",
                                  const std::vector<std::string>& overrides = {}) {
  Document document = Document::parse(text, name);
  document.apply(overrides);
  return bind_document<T>(document);
}

template <class T>
[[nodiscard]] Resolved describe() {
  T value;
  return describe([&](Binder& b) { value.bind(b); });
}

}  // namespace trireme::config

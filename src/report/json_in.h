#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

namespace trireme::report {

// Members of records that a run, or somebody else, wrote: what is absent or of another type is
// nothing.

/// The integer that an object has under `key`; nothing if that is absent, of another type, or
/// `json` is no object.
template <class AnyJson>
[[nodiscard]] std::optional<int64_t> integer_in(const AnyJson& json, std::string_view key) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  if (found == json.end() || !found->is_number_integer()) return std::nullopt;
  return found->template get<int64_t>();
}

/// The number at a path of keys; nothing where there is none.
template <class AnyJson>
[[nodiscard]] std::optional<double> number_in(const AnyJson& json,
                                              std::initializer_list<std::string_view> path) {
  const AnyJson* here = &json;
  for (const std::string_view key : path) {
    const auto found = here->is_object() ? here->find(key) : here->end();
    if (found == here->end()) return std::nullopt;
    here = &*found;
  }
  return here->is_number() ? std::optional(here->template get<double>()) : std::nullopt;
}

}  // namespace trireme::report

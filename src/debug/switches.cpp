#include <trireme/debug/switches.h>

#include <algorithm>

namespace trireme::debug {

std::optional<Switch> switch_named(std::string_view name) {
  const auto found = std::find(switch_names.begin(), switch_names.end(), name);
  if (found == switch_names.end()) return std::nullopt;
  return static_cast<Switch>(found - switch_names.begin());
}

}  // namespace trireme::debug

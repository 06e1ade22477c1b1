#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// How many insertions, deletions and substitutions lie between the two (Levenshtein 1966).
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate that is most likely meant: the nearest within a third of the word's length (at
/// least 2), or empty.
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace trireme::config

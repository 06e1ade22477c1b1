#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// How many insertions, deletions, substitutions (Levenshtein 1966) and swaps of neighbours
/// (Damerau 1964; each place is edited once, "optimal string alignment") lie between the two.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

/// The candidate that is most likely meant: the nearest within a third of the word's length (at
/// least 1), else the first that the word is an abbreviation of, else empty.
[[nodiscard]] std::string nearest(std::string_view word,
                                  const std::vector<std::string>& candidates);

}  // namespace trireme::config

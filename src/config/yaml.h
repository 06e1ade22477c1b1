#pragma once

#include <trireme/config/node.h>
#include <trireme/config/problem.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme::config {

/// What a configuration may contain at most; aliases count as what they stand for.
inline constexpr std::size_t most_bytes = std::size_t{1} << 20;
inline constexpr std::size_t most_nodes = 20000;
inline constexpr int deepest_nesting = 32;

/// One YAML document as a tree with places; an empty text is null. Syntax errors and exceeded
/// limits throw kind `configuration`; duplicate keys and tags are added to `problems` and the first
/// key wins.
[[nodiscard]] Node parse_yaml(std::string_view text, const std::string& source,
                              std::vector<Problem>& problems);

}  // namespace trireme::config

#pragma once

#include <trireme/config/node.h>
#include <trireme/config/problem.h>
#include <trireme/config/resolved.h>

#include <string>
#include <vector>

namespace trireme::config {

/// Whether the node is a value of the type. If not, says what is wrong and where, e.g. at
/// "optim.betas[1]".
[[nodiscard]] bool conforms(const Node& node, const Type& type, const std::string& path,
                            std::vector<Problem>& problems);

/// Whether a conforming node keeps to the key's range and choices.
[[nodiscard]] bool is_allowed(const Node& node, const Declaration& key, const std::string& path,
                              std::vector<Problem>& problems);

/// "above 0, at most 1", "one of cosine, constant"; empty without constraints.
[[nodiscard]] std::string constraints_text(const Declaration& key);

/// A scalar for people: texts as they are, numbers as they were written.
[[nodiscard]] std::string plain_text(const Node& node);

}  // namespace trireme::config

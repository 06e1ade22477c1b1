#pragma once

#include <trireme/config/node.h>
#include <trireme/config/problem.h>

#include <string>
#include <vector>

namespace trireme::config {

/// Applies one "key.path=value" to the tree; mappings on the way are created. What is malformed
/// goes to `problems`.
void apply_override(Node& root, const std::string& assignment, std::vector<Problem>& problems);

}  // namespace trireme::config

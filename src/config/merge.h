#pragma once

#include <trireme/config/node.h>

namespace trireme::config {

/// Puts `over` on top of `base`: mappings merge key by key, anything else replaces.
void merge(Node& base, Node over);

}  // namespace trireme::config

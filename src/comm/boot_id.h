#pragma once

#include <string>

namespace trireme::comm {

/// The same for all processes of a machine, containers too, until it starts again (random(4));
/// empty where that is not known.
[[nodiscard]] std::string boot_id();

}  // namespace trireme::comm

#pragma once

#include "emulated.h"

#include <string>

namespace trireme::emulated {

/// Counts that the host waits for a device; Error `environment` where it must not: in a recording,
/// or under ForbidSyncs.
void host_sync(const std::string& what);
/// Error `environment`: the operation cannot be part of a graph.
[[noreturn]] void refuse_in_recording(const std::string& what);

}  // namespace trireme::emulated

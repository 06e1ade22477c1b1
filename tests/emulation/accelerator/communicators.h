#pragma once

namespace trireme::emulated {

/// Collectives on the memory of devices, by the communicators of the hosts.
void register_communicators();

}  // namespace trireme::emulated

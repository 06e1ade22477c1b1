#pragma once

#include <trireme/comm/communicator.h>

#include "comm/engine.h"

#include <memory>

namespace trireme::comm {

/// The communicator of `group` over an engine: it checks arguments and turns calls into operations
/// of the engine. `parent` is the health of the communicator that it was split from, or null.
[[nodiscard]] CommunicatorPtr make_communicator(std::shared_ptr<Engine> engine, Group group,
                                                const std::shared_ptr<Health>& parent = nullptr);

/// The group of all ranks.
[[nodiscard]] Group world_group(int rank, int size);

}  // namespace trireme::comm

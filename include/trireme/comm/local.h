#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/world.h>

#include <memory>

namespace trireme::comm {

/// A world of one. Collectives are complete when the call returns; no thread is started for them.
[[nodiscard]] CommunicatorPtr make_local_communicator();
[[nodiscard]] std::unique_ptr<World> make_local_world();

}  // namespace trireme::comm

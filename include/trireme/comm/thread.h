#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/world.h>

#include <memory>
#include <vector>

namespace trireme::comm {

/// N ranks inside this process, for tests and dry runs; element r belongs to the thread that plays
/// rank r. They behave as processes do: operations run on a communication thread per rank, and
/// poisoning is the matter of each rank.
[[nodiscard]] std::vector<CommunicatorPtr> make_thread_communicators(int ranks);
/// The same with side channels. Destroying a world without finalize() or goodbye() is what a killed
/// process is to the others.
[[nodiscard]] std::vector<std::unique_ptr<World>> make_thread_worlds(int ranks);

}  // namespace trireme::comm

#pragma once

#include <trireme/comm/world.h>

#include "comm/engine.h"
#include "comm/socket.h"

#include <memory>
#include <vector>

namespace trireme::comm {

/// A world over an engine whose communicator already works. `links` are the connections of its side
/// channel.
[[nodiscard]] std::unique_ptr<World> make_world(Launch launch, std::shared_ptr<Engine> engine,
                                                CommunicatorPtr all, std::vector<RankInfo> ranks,
                                                std::vector<Socket> links);

/// What a rank tells about its process, and the table made of all of these. Ranks share a host if
/// name and boot id agree.
[[nodiscard]] std::string describe_process();
[[nodiscard]] std::vector<RankInfo> rank_table(const std::vector<std::string>& descriptions);

}  // namespace trireme::comm

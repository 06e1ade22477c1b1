#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/side_channel.h>

#include "comm/socket.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace trireme::comm {

/// A side channel over one connection from every rank to rank 0. The kernel closes the connections
/// of a process that dies, however it dies, so a lost rank is noticed without heartbeats and
/// without false alarms. `links`: on rank 0 one a rank from 1 on; elsewhere the one to rank 0; none
/// in a world of one. `hosts`: one a rank. `first_handler` is called with the verdict before the
/// one set by on_failure().
[[nodiscard]] std::unique_ptr<SideChannel> make_star_side_channel(
    int rank, std::vector<std::string> hosts, std::vector<Socket> links,
    std::function<void(const Failure&)> first_handler);

/// Connects the ranks of a communicator over TCP; every rank calls.
[[nodiscard]] std::vector<Socket> connect_star(Communicator& world,
                                               const std::vector<std::string>& hosts);

}  // namespace trireme::comm

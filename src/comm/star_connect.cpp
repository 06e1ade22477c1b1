#include "comm/star_side_channel.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace trireme::comm {

std::vector<Socket> connect_star(Communicator& world, const std::vector<std::string>& hosts) {
  constexpr std::chrono::seconds patience(60);
  std::vector<Socket> links;
  if (world.size() == 1) return links;
  if (world.rank() == 0) {
    const bool one_host =
        std::all_of(hosts.begin(), hosts.end(), [&](const auto& host) { return host == hosts[0]; });
    const Listener listener = listen_for_ranks(one_host);
    static_cast<void>(world.broadcast_bytes(to_text(listener.invitation), 0));
    return accept_ranks(listener, world.size(), patience);
  }
  const Invitation invitation = invitation_from(world.broadcast_bytes({}, 0));
  links.push_back(connect_to_rank_0(invitation, world.rank(), patience));
  return links;
}

}  // namespace trireme::comm

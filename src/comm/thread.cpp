#include <trireme/comm/local.h>
#include <trireme/comm/thread.h>

#include "comm/composed_world.h"
#include "comm/ranked_communicator.h"
#include "comm/thread_transport.h"

#include <string>
#include <utility>

namespace trireme::comm {
namespace {

std::vector<std::shared_ptr<Engine>> make_engines(int ranks) {
  check(ranks > 0, "a world has at least one rank");
  const auto office = make_post_office(ranks);
  std::vector<std::shared_ptr<Engine>> engines;
  for (int r = 0; r < ranks; ++r)
    engines.push_back(std::make_shared<Engine>(
        "comm-" + std::to_string(r), [office, r] { return make_thread_transport(office, r); },
        /*alone=*/ranks == 1));
  return engines;
}

std::vector<std::unique_ptr<World>> make_worlds(int ranks, const std::string& launcher) {
  const auto engines = make_engines(ranks);
  const auto table =
      rank_table(std::vector<std::string>(static_cast<std::size_t>(ranks), describe_process()));
  std::vector<std::vector<Socket>> links(static_cast<std::size_t>(ranks));
  for (std::size_t r = 1; r < links.size(); ++r) {
    auto [hub, leaf] = socket_pair();
    links[0].push_back(std::move(hub));
    links[r].push_back(std::move(leaf));
  }
  std::vector<std::unique_ptr<World>> worlds;
  for (int r = 0; r < ranks; ++r) {
    const auto at = static_cast<std::size_t>(r);
    worlds.push_back(make_world({launcher, r, ranks}, engines[at],
                                make_communicator(engines[at], world_group(r, ranks)), table,
                                std::move(links[at])));
  }
  return worlds;
}

}  // namespace

std::vector<CommunicatorPtr> make_thread_communicators(int ranks) {
  std::vector<CommunicatorPtr> all;
  for (const auto& engine : make_engines(ranks)) {
    const int rank = static_cast<int>(all.size());
    all.push_back(make_communicator(engine, world_group(rank, ranks)));
  }
  return all;
}

CommunicatorPtr make_local_communicator() {
  return make_thread_communicators(1).front();
}

std::vector<std::unique_ptr<World>> make_thread_worlds(int ranks) {
  return make_worlds(ranks, "threads");
}

std::unique_ptr<World> make_local_world() {
  return std::move(make_worlds(1, "alone").front());
}

}  // namespace trireme::comm

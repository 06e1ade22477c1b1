#include <trireme/comm/local.h>
#include <trireme/comm/world.h>
#include <trireme/core/fault.h>

#include "comm/composed_world.h"
#include "comm/launch.h"
#include "comm/mpi_transport.h"
#include "comm/ranked_communicator.h"
#include "comm/star_side_channel.h"

#include <cstdlib>
#include <memory>
#include <string>

#include <unistd.h>

namespace trireme::comm {
namespace {

void check_size(const Launch& launch, int size) {
  if (launch.size == 0 || launch.size == size) return;
  throw Error(ErrorKind::environment,
              launch.launcher + " started " + std::to_string(launch.size) +
                  " processes, but MPI knows of " + std::to_string(size),
              "use the launcher of the MPI library that trireme was built with (Open MPI): mpirun "
              "-np N, or srun --mpi=pmix");
}

std::unique_ptr<World> join_by_mpi(Launch launch) {
  auto engine = std::make_shared<Engine>("trireme-mpi", open_mpi_transport);
  engine->start();
  try {
    check_size(launch, engine->size());
  } catch (const Error&) {
    engine->finalize();
    throw;
  }
  launch.rank = engine->rank();
  launch.size = engine->size();
  core::fault::set_rank(launch.rank);
  auto all = make_communicator(engine, world_group(launch.rank, launch.size));
  auto ranks = rank_table(all->all_gather_bytes(describe_process()));
  std::vector<std::string> hosts;
  for (const RankInfo& rank : ranks) hosts.push_back(rank.host);
  auto links = connect_star(*all, hosts);
  return make_world(std::move(launch), std::move(engine), std::move(all), std::move(ranks),
                    std::move(links));
}

}  // namespace

std::unique_ptr<World> join_world() {
  const Environment environment = [](const char* name) -> const char* {
    return std::getenv(name);
  };
  const Launch launch = detect_launch(environment);
  if (choose_joining(launch, environment) == Joining::mpi) return join_by_mpi(launch);
  core::fault::set_rank(0);
  return make_local_world();
}

void abort_world(int exit_code) noexcept {
  abort_mpi(exit_code);
  ::_exit(exit_code);
}

}  // namespace trireme::comm

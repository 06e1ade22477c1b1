#pragma once

#include <memory>
#include <string>
#include <vector>

#include <trireme/comm/communicator.h>
#include <trireme/comm/side_channel.h>

namespace trireme::comm {

/// Which program started this process and which rank it says we are.
struct Launch {
  std::string launcher = "alone";  ///< mpirun | srun | torchrun | alone
  int rank = 0;
  int size = 1;
};
/// Reads only the given variables' environment (see docs: order mpirun, srun with PMIx, plain srun, torchrun, alone).
[[nodiscard]] Launch detect_launch();

struct RankInfo {
  std::string host;
  int pid = 0;
  int local_rank = 0;
  int local_size = 1;
};

/// All processes of this run. Exactly one exists per process; it is passed, never global.
class World {
 public:
  virtual ~World();
  [[nodiscard]] virtual CommunicatorPtr all() const = 0;
  [[nodiscard]] virtual SideChannel& side_channel() = 0;
  [[nodiscard]] virtual const Launch& launch() const = 0;
  /// Host, pid and local rank of every rank, by rank.
  [[nodiscard]] virtual const std::vector<RankInfo>& ranks() const = 0;
  /// Orderly end: every rank calls it when all went well. Not called after a failure.
  virtual void finalize() = 0;

  [[nodiscard]] int rank() const { return all()->rank(); }
  [[nodiscard]] int size() const { return all()->size(); }
};

/// Joins the world: MPI where a launcher with MPI (or PMIx) started us, else a world of one. Refuses, with kind
/// `environment`, N worlds of one inside a larger launch (a launcher without MPI support). Call once, early in main.
[[nodiscard]] std::unique_ptr<World> join_world();

}  // namespace trireme::comm

#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/side_channel.h>

#include <memory>
#include <string>
#include <vector>

namespace trireme::comm {

/// Which program started this process and which rank it says we are.
struct Launch {
  std::string launcher = "alone";  ///< mpirun | srun | torchrun | alone
  int rank = 0;
  int size = 1;
};
/// Looks at the environment in the order Open MPI's mpirun, PMIx (srun --mpi=pmix), another
/// mpiexec, plain srun, torchrun, alone. The size is 0 where only MPI knows it. Throws, with kind
/// `environment`, for variables that contradict each other.
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

/// Joins the world: MPI where a launcher with MPI (or PMIx) started us, else a world of one.
/// Refuses, with kind `environment`, N worlds of one inside a larger launch (a launcher without MPI
/// support). Call once, early in main. A failure known to the side channel poisons all() and what
/// was split from it, before handlers of others are called.
///
/// After a failure do not call finalize(): MPI_Finalize waits for ranks that may be gone. Leave
/// with std::_Exit() once SideChannel::leave_together() returned, or with abort_world(). Destroying
/// the world never communicates; to the other ranks it is the loss of this one.
[[nodiscard]] std::unique_ptr<World> join_world();

/// Ends the processes of all ranks with this exit code (under 126) by MPI_Abort, and this process
/// in any case. From any thread; nothing is flushed or destroyed.
[[noreturn]] void abort_world(int exit_code) noexcept;

}  // namespace trireme::comm

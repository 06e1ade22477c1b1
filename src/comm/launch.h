#pragma once

#include <trireme/comm/world.h>

#include <functional>

namespace trireme::comm {

/// getenv, or a stand-in for it.
using Environment = std::function<const char*(const char*)>;

/// Who started us. Order: Open MPI's mpirun, PMIx (srun --mpi=pmix, PRRTE), another mpiexec (PMI),
/// plain srun, torchrun, alone. Variables that make no sense (not a number, rank outside the size)
/// are errors of kind environment. Under a bare PMIx only MPI knows the size: it is 0 here.
[[nodiscard]] Launch detect_launch(const Environment& get);

/// How to join the world that the launcher made.
enum class Joining { local, mpi };
/// Throws, with kind environment and the right command as a hint, where the launcher started
/// several processes that have no MPI to find each other: each would train alone.
[[nodiscard]] Joining choose_joining(const Launch& launch, const Environment& get);

}  // namespace trireme::comm

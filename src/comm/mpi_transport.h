#pragma once

#include "comm/transport.h"

#include <memory>

namespace trireme::comm {

/// Messages by MPI, in a duplicate of MPI_COMM_WORLD. Initialises MPI (with MPI_THREAD_MULTIPLE)
/// unless the program has done it; finalize() then ends what was begun. To be called on the thread
/// that will use it.
[[nodiscard]] std::unique_ptr<Transport> open_mpi_transport();

/// MPI_Abort for all processes of the launch, if MPI runs here; returns otherwise. From any thread.
void abort_mpi(int exit_code);

}  // namespace trireme::comm

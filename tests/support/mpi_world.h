#pragma once

#include <trireme/comm/world.h>

namespace trireme::test {

/// The world of this test program, joined by mpi_main.cpp.
comm::World& world();

/// A communicator of all ranks for the running test, which may be poisoned: one that hangs for 20 s
/// is. Every rank calls it at the same place of the test.
comm::CommunicatorPtr fresh_communicator();

}  // namespace trireme::test

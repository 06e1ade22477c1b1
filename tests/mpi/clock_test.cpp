#include <trireme/comm/clock.h>

#include "support/mpi_world.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

TEST(MpiClocks, ProcessesOfOneHostShareTheirs) {
  const comm::CommunicatorPtr all = fresh_communicator();
  for (int round = 0; round < 3; ++round) {
    const comm::ClockOffset offset = comm::align_clocks(*all);
    EXPECT_LE(std::abs(offset.offset_ns), offset.uncertainty_ns) << "rank " << all->rank();
    EXPECT_LT(offset.uncertainty_ns, 1'000'000'000);
  }
}

}  // namespace
}  // namespace trireme::test

#include "support/communicator_cases.h"
#include "support/mpi_world.h"

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

class MpiCommunicator : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(MpiCommunicator, does) {
  GetParam().run(*fresh_communicator());
}

INSTANTIATE_TEST_SUITE_P(cases, MpiCommunicator, testing::ValuesIn(communicator_cases::all),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(MpiWorld, knows_every_rank) {
  const auto& ranks = world().ranks();
  ASSERT_EQ(ranks.size(), static_cast<std::size_t>(world().size()));
  for (int r = 0; r < world().size(); ++r) {
    const comm::RankInfo& rank = ranks[static_cast<std::size_t>(r)];
    EXPECT_EQ(rank.host, ranks[0].host);
    EXPECT_EQ(rank.local_rank, r);
    EXPECT_EQ(rank.local_size, world().size());
  }
  EXPECT_EQ(ranks[static_cast<std::size_t>(world().rank())].pid, ::getpid());
  EXPECT_EQ(world().launch().launcher, "mpirun");
  EXPECT_EQ(world().launch().size, world().size());
}

}  // namespace
}  // namespace trireme::test

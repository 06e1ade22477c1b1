#include <trireme/comm/local.h>
#include <trireme/comm/thread.h>

#include "comm/composed_world.h"
#include "support/spawn_ranks.h"

#include <atomic>

#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

TEST(RankTable, counts_ranks_of_a_host_also_where_hosts_are_uneven_and_mixed) {
  const auto ranks = rank_table({"a\n10\nx", "b\n20\ny", "a\n11\nx", "a\n12\nx"});
  ASSERT_EQ(ranks.size(), 4u);
  EXPECT_EQ(ranks[1].host, "b");
  EXPECT_EQ(ranks[1].pid, 20);
  EXPECT_EQ(ranks[1].local_rank, 0);
  EXPECT_EQ(ranks[1].local_size, 1);
  EXPECT_EQ(ranks[3].local_rank, 2);
  EXPECT_EQ(ranks[0].local_size, 3);
}

TEST(RankTable, tells_machines_of_one_name_apart) {
  const auto ranks = rank_table({"box\n1\nfirst", "box\n1\nsecond"});
  EXPECT_EQ(ranks[0].local_size, 1);
  EXPECT_EQ(ranks[1].local_rank, 0);
}

TEST(LocalWorld, is_a_world_of_one) {
  const auto world = make_local_world();
  EXPECT_EQ(world->rank(), 0);
  EXPECT_EQ(world->size(), 1);
  EXPECT_EQ(world->ranks().size(), 1u);
  world->finalize();
}

TEST(ThreadWorlds, have_a_rank_each) {
  const auto worlds = make_thread_worlds(3);
  for (int r = 0; r < 3; ++r) {
    const World& world = *worlds[static_cast<std::size_t>(r)];
    EXPECT_EQ(world.rank(), r);
    EXPECT_EQ(world.size(), 3);
    EXPECT_EQ(world.ranks()[2].local_rank, 2);
  }
}

TEST(ThreadWorlds, run_as_the_ranks_of_a_test) {
  std::atomic<int> ended{0};
  test::spawn_worlds(3, [&](World& world) {
    EXPECT_EQ(world.all()->all_gather_bytes("x").size(), 3u);
    world.finalize();
    ++ended;
  });
  EXPECT_EQ(ended, 3);
  EXPECT_THROW(test::spawn_worlds(3,
                                  [](World& world) {
                                    if (world.rank() == 2) throw Error(ErrorKind::diverged, "two");
                                    world.all()->barrier()->wait();
                                  }),
               Error);
}

}  // namespace
}  // namespace trireme::comm

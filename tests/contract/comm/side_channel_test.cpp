#include <trireme/comm/local.h>
#include <trireme/comm/side_channel.h>
#include <trireme/comm/thread.h>

#include <atomic>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

// The waits below have generous limits and end as soon as the expected thing has happened.
namespace trireme::comm {
namespace {

constexpr double generous = 60;

using Worlds = std::vector<std::unique_ptr<World>>;

World& at_rank(const Worlds& worlds, int rank) {
  return *worlds[static_cast<std::size_t>(rank)];
}

Failure failure_of(int rank, ErrorKind kind = ErrorKind::diverged) {
  Failure failure;
  failure.kind = kind;
  failure.rank = rank;
  failure.message = "rank " + std::to_string(rank) + " diverged";
  failure.step = 17;
  return failure;
}

class SideChannelOf : public testing::TestWithParam<int> {
 protected:
  Worlds worlds = make_thread_worlds(GetParam());
  [[nodiscard]] int size() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(ranks, SideChannelOf, testing::Values(1, 2, 3, 4));

TEST_P(SideChannelOf, brings_a_failure_of_any_rank_to_all) {
  for (int source = 0; source < size(); ++source) {
    worlds = make_thread_worlds(size());
    at_rank(worlds, source).side_channel().report(failure_of(source));
    for (const auto& world : worlds) {
      const auto verdict = world->side_channel().verdict(generous);
      ASSERT_TRUE(verdict);
      EXPECT_EQ(verdict->kind, ErrorKind::diverged);
      EXPECT_EQ(verdict->rank, source);
      EXPECT_EQ(verdict->step, 17);
      EXPECT_EQ(verdict->message, failure_of(source).message);
      EXPECT_EQ(world->side_channel().first_survivor(), 0);
    }
  }
}

TEST_P(SideChannelOf, gives_all_the_same_verdict_when_many_fail) {
  std::vector<std::thread> threads;
  for (int r = 0; r < size(); ++r)
    threads.emplace_back([&, r] { at_rank(worlds, r).side_channel().report(failure_of(r)); });
  for (auto& thread : threads) thread.join();
  const auto first = worlds[0]->side_channel().verdict(generous);
  ASSERT_TRUE(first);
  for (const auto& world : worlds)
    EXPECT_EQ(world->side_channel().verdict(generous)->rank, first->rank);
}

TEST_P(SideChannelOf, wakes_ranks_that_stand_in_a_collective) {
  std::vector<std::future<std::string>> standing;
  for (int r = 1; r < size(); ++r)
    standing.push_back(std::async(std::launch::async, [&, r] {
      try {
        const auto half = at_rank(worlds, r).all()->split(r, 0, "half");
        half->barrier()->wait();
        return std::string("came through");
      } catch (const Error& error) {
        return error.message();
      }
    }));
  at_rank(worlds, 0).side_channel().report(failure_of(0));
  for (auto& one : standing) EXPECT_EQ(one.get(), "rank 0 diverged");
}

TEST_P(SideChannelOf, calls_the_handler_after_the_communicators_are_poisoned) {
  std::vector<std::promise<bool>> poisoned(worlds.size());
  for (std::size_t r = 0; r < worlds.size(); ++r)
    worlds[r]->side_channel().on_failure([&, r](const Failure& failure) {
      poisoned[r].set_value(worlds[r]->all()->poisoned() != nullptr && failure.rank == 0);
    });
  worlds[0]->side_channel().report(failure_of(0));
  for (auto& one : poisoned) EXPECT_TRUE(one.get_future().get());
  // Who asks late is told at once.
  std::promise<void> late;
  worlds.back()->side_channel().on_failure([&](const Failure&) { late.set_value(); });
  late.get_future().get();
}

TEST_P(SideChannelOf, notices_a_rank_that_vanishes) {
  for (int victim = 0; victim < size() && size() > 1; ++victim) {
    worlds = make_thread_worlds(size());
    worlds[static_cast<std::size_t>(victim)].reset();
    for (int r = 0; r < size(); ++r) {
      if (r == victim) continue;
      SideChannel& channel = at_rank(worlds, r).side_channel();
      const auto verdict = channel.verdict(generous);
      ASSERT_TRUE(verdict);
      EXPECT_EQ(verdict->kind, ErrorKind::peer_lost);
      EXPECT_EQ(verdict->rank, victim);
      EXPECT_EQ(channel.first_survivor(), victim == 0 ? 1 : 0);
    }
  }
}

TEST_P(SideChannelOf, has_no_verdict_when_all_end_in_order) {
  std::vector<std::future<void>> ends;
  for (const auto& world : worlds)
    ends.push_back(std::async(std::launch::async, [&world] { world->finalize(); }));
  for (auto& end : ends) end.get();
  while (worlds.size() > 1) {
    worlds.erase(worlds.begin());  // rank 0 first: the most dangerous order
    EXPECT_FALSE(worlds.back()->side_channel().verdict(0.02));
  }
}

TEST_P(SideChannelOf, lets_all_leave_when_the_record_is_written) {
  worlds[0]->side_channel().report(failure_of(0));
  std::vector<std::future<void>> leaving;
  for (int r = 0; r < size(); ++r)
    leaving.push_back(std::async(std::launch::async, [&, r] {
      at_rank(worlds, r).side_channel().leave_together(r == 0, 3600);
    }));
  for (auto& one : leaving) one.get();
}

TEST_P(SideChannelOf, does_not_wait_for_a_rank_that_is_stuck) {
  worlds[0]->side_channel().report(failure_of(0));
  std::vector<std::future<void>> leaving;
  for (int r = 0; r + 1 < std::max(size(), 2); ++r)
    leaving.push_back(std::async(std::launch::async, [&, r] {
      at_rank(worlds, r).side_channel().leave_together(r == 0, 3600);
    }));
  for (auto& one : leaving) one.get();
}

TEST_P(SideChannelOf, lets_the_first_survivor_leave_when_rank_0_was_lost) {
  if (size() == 1) return;
  worlds[0].reset();
  SideChannel& channel = worlds[1]->side_channel();
  ASSERT_TRUE(channel.verdict(generous));
  ASSERT_EQ(channel.first_survivor(), 1);
  channel.leave_together(/*wrote=*/true, 3600);
  worlds.back()->side_channel().leave_together(/*wrote=*/size() == 2, 0.01);
}

TEST_P(SideChannelOf, takes_the_leaving_of_rank_0_after_a_verdict_for_permission) {
  if (size() == 1) return;
  worlds.back()->side_channel().report(failure_of(size() - 1));
  for (const auto& world : worlds) ASSERT_TRUE(world->side_channel().verdict(generous));
  auto leaving = std::async(std::launch::async,
                            [&] { worlds.back()->side_channel().leave_together(false, 3600); });
  worlds[0].reset();
  leaving.get();
  EXPECT_EQ(worlds.back()->side_channel().verdict(generous)->rank, size() - 1);
}

TEST(SideChannel, knows_the_first_survivor_after_two_losses) {
  auto worlds = make_thread_worlds(3);
  worlds[1].reset();
  ASSERT_TRUE(worlds[2]->side_channel().verdict(generous));
  worlds[0].reset();
  // The second loss changes no verdict, so it can only be looked for.
  while (worlds[2]->side_channel().first_survivor() != 2) std::this_thread::yield();
  EXPECT_EQ(worlds[2]->side_channel().verdict(generous)->rank, 1);
}

TEST(SideChannel, has_no_verdict_without_a_failure) {
  EXPECT_FALSE(make_local_world()->side_channel().verdict(0.01));
}

}  // namespace
}  // namespace trireme::comm

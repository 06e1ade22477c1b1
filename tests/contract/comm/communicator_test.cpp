#include <trireme/comm/local.h>
#include <trireme/comm/thread.h>

#include "support/communicator_cases.h"
#include "support/spawn_ranks.h"

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

class ThreadCommunicator : public testing::TestWithParam<std::tuple<int, CommunicatorCase>> {};

TEST_P(ThreadCommunicator, does) {
  const auto& [ranks, one] = GetParam();
  const auto run = one.run;
  spawn_ranks(ranks, [run](const comm::CommunicatorPtr& communicator) { run(*communicator); });
}

INSTANTIATE_TEST_SUITE_P(cases, ThreadCommunicator,
                         testing::Combine(testing::Values(2, 3, 4),
                                          testing::ValuesIn(communicator_cases::all)),
                         [](const auto& instance) {
                           return std::string(std::get<1>(instance.param).name) + "_on_" +
                                  std::to_string(std::get<0>(instance.param));
                         });

class LocalCommunicator : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(LocalCommunicator, does) {
  GetParam().run(*comm::make_local_communicator());
}

INSTANTIATE_TEST_SUITE_P(cases, LocalCommunicator, testing::ValuesIn(communicator_cases::all),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(SpawnRanks, rethrows_the_first_exception_and_leaves_nobody_waiting) {
  try {
    spawn_ranks(3, [](const comm::CommunicatorPtr& ranks) {
      if (ranks->rank() == 1) throw Error(ErrorKind::diverged, "rank 1 diverged");
      ranks->barrier()->wait();
    });
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "rank 1 diverged");
  }
}

}  // namespace
}  // namespace trireme::test

#include <trireme/comm/local.h>
#include <trireme/comm/traced.h>

#include "support/communicator_cases.h"
#include "support/spawn_ranks.h"

#include <gtest/gtest.h>

namespace trireme::test {
namespace {

class TracedThreadCommunicator : public testing::TestWithParam<std::tuple<int, CommunicatorCase>> {
};

TEST_P(TracedThreadCommunicator, does) {
  const auto& [ranks, one] = GetParam();
  const auto run = one.run;
  spawn_ranks(ranks, [run](const comm::CommunicatorPtr& communicator) {
    telemetry::Recorder recorder;
    run(*comm::traced(communicator, recorder));
  });
}

INSTANTIATE_TEST_SUITE_P(cases, TracedThreadCommunicator,
                         testing::Combine(testing::Values(3),
                                          testing::ValuesIn(communicator_cases::all)),
                         [](const auto& instance) {
                           return std::string(std::get<1>(instance.param).name) + "_on_" +
                                  std::to_string(std::get<0>(instance.param));
                         });

class TracedLocalCommunicator : public testing::TestWithParam<CommunicatorCase> {};

TEST_P(TracedLocalCommunicator, does) {
  telemetry::Recorder recorder;
  GetParam().run(*comm::traced(comm::make_local_communicator(), recorder));
}

INSTANTIATE_TEST_SUITE_P(cases, TracedLocalCommunicator, testing::ValuesIn(communicator_cases::all),
                         [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace trireme::test

#include <trireme/core/error.h>
#include <trireme/core/fault.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

namespace trireme::core {
namespace {

/// In a process of its own: TRIREME_FAULT is read once. Exits with 0, or 3 after a usage error.
[[noreturn]] void reach(const char* faults) {
  ::setenv("TRIREME_FAULT", faults, 1);
  try {
    (void)fault::at("here");
  } catch (const Error& error) {
    std::fprintf(stderr, "%s", error.message().c_str());
    std::_Exit(error.kind() == ErrorKind::usage ? 3 : 4);
  }
  std::_Exit(0);
}

class FaultDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(FaultDeathTest, AmountsMustBeNumbers) {
  for (const char* action : {"sleep=abc", "sleep=", "sleep", "leak=", "leak=-1", "leak=1x",
                             "leak=99999999999", "sleep=99999999999999999999"})
    EXPECT_EXIT(reach((std::string("elsewhere:*:*:") + action).c_str()), testing::ExitedWithCode(3),
                std::string("'") + action + "' needs a whole number")
        << action;
}

TEST_F(FaultDeathTest, AmountsAreTaken) {
  for (const char* action : {"sleep=0", "sleep=1", "leak=1", "sleepy"})
    EXPECT_EXIT(reach((std::string("here:*:*:") + action).c_str()), testing::ExitedWithCode(0), "")
        << action;
}

}  // namespace
}  // namespace trireme::core

#include <trireme/device/backend.h>

#include "emulated.h"

#include <csignal>
#include <cstdlib>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::emulated {
namespace {

// In processes of their own: memory is protected from the first allocation on.
class ProtectedDeathTest : public testing::Test {
 protected:
  ProtectedDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  static at::Tensor protected_tensor() {
    setenv("TRIREME_EMULATED_PROTECT", "1", 1);
    static_cast<void>(device::load_backend("emulated"));
    return at::full({4}, 3.0F, at::TensorOptions().device(device_type));
  }
};

TEST_F(ProtectedDeathTest, AStrayAccessOfTheHostIsFatal) {
  EXPECT_EXIT(
      {
        const volatile float* memory = protected_tensor().const_data_ptr<float>();
        std::exit(memory[0] == 3.0F ? 0 : 1);
      },
      testing::KilledBySignal(SIGSEGV), "");
}

TEST_F(ProtectedDeathTest, OperationsAndCopiesHaveAccess) {
  EXPECT_EXIT(std::exit((protected_tensor() * 2).cpu().sum().item<float>() == 24.0F ? 7 : 1),
              testing::ExitedWithCode(7), "");
}

}  // namespace
}  // namespace trireme::emulated

#include "cuda/device/throttle.h"

#include <gmock/gmock.h>

namespace trireme::cuda {
namespace {

TEST(Throttle, OnlyTroubleCounts) {
  for (const unsigned long long bits : {0x00ULL, 0x01ULL, 0x02ULL, 0x04ULL, 0x10ULL, 0x100ULL, 0x117ULL})
    EXPECT_THAT(throttle_reasons(bits), testing::IsEmpty()) << bits;
  EXPECT_THAT(throttle_reasons(0x08), testing::ElementsAre("hardware slowdown"));
  EXPECT_THAT(throttle_reasons(0x24), testing::ElementsAre("too hot (software)"));
  EXPECT_THAT(throttle_reasons(0x40 | 0x80), testing::ElementsAre("too hot (hardware)", "power brake"));
}

}  // namespace
}  // namespace trireme::cuda

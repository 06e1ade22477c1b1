#include <trireme/device/device_memory.h>
#include <trireme/device/mark.h>

#include <gmock/gmock.h>

namespace trireme::device {
namespace {

const c10::Device cpu(c10::DeviceType::CPU);

TEST(Mark, TheCpuHasReachedEveryMark) {
  const Mark first = Mark::now(cpu);
  const Mark second = Mark::now(cpu, /*timed=*/true);
  EXPECT_TRUE(first.reached());
  first.wait_on_host();
  first.wait_on_stream();
  EXPECT_GE(second.seconds_since(first), 0.0);
  EXPECT_LE(first.seconds_since(second), 0.0);
  EXPECT_EQ(first.seconds_since(first), 0.0);
  const Mark copy = second;
  EXPECT_EQ(copy.seconds_since(second), 0.0);
}

TEST(DeviceMemory, TheCpusAllocatorCountsNothing) {
  const DeviceMemory memory = device_memory(cpu);
  EXPECT_EQ(memory.allocated, 0);
  EXPECT_EQ(memory.reserved, 0);
  EXPECT_EQ(memory.peak, 0);
  reset_peak(cpu);
}

}  // namespace
}  // namespace trireme::device

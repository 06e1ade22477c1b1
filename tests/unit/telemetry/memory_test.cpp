#include <trireme/telemetry/memory.h>

#include <ATen/ATen.h>

#include <gmock/gmock.h>

namespace trireme::telemetry {
namespace {

constexpr int64_t mebibyte = 1 << 20;

class Memory : public testing::Test {
 protected:
  static void SetUpTestSuite() { install_counting_allocator(); }
};

TEST_F(Memory, TensorsAreCountedAndGivenBack) {
  const int64_t before = allocated_bytes();
  {
    const at::Tensor values = at::empty({4 * mebibyte}, at::kByte);
    EXPECT_GE(allocated_bytes() - before, 4 * mebibyte);
    EXPECT_LT(allocated_bytes() - before, 5 * mebibyte);
  }
  EXPECT_EQ(allocated_bytes(), before);
}

TEST_F(Memory, ThePeakShowsTemporariesOfOperations) {
  const at::Tensor a = at::ones({mebibyte / 4});  // 1 MiB of float32
  const int64_t before = allocated_bytes();
  reset_peak();
  EXPECT_EQ(peak_bytes(), before);
  { const at::Tensor result = (a + a) * a; }  // two results live at once
  EXPECT_GE(peak_bytes() - before, 2 * mebibyte);
  EXPECT_LT(peak_bytes() - before, 3 * mebibyte);
  EXPECT_EQ(allocated_bytes(), before);
  reset_peak();
  EXPECT_EQ(peak_bytes(), before);
}

TEST_F(Memory, OperationsOfOneDnnAcceptTheAllocator) {
  const at::Tensor x = at::ones({64, 256});
  const int64_t before = allocation_count();
  EXPECT_TRUE(at::isfinite(at::gelu(at::linear(x, at::ones({128, 256})))).all().item<bool>());
  EXPECT_GT(allocation_count(), before);
}

TEST_F(Memory, InstallingTwiceCountsOnce) {
  install_counting_allocator();
  const int64_t before = allocated_bytes();
  const at::Tensor values = at::empty({mebibyte}, at::kByte);
  EXPECT_LT(allocated_bytes() - before, 2 * mebibyte);
}

TEST_F(Memory, ScopesNestWithoutHidingPeaks) {
  const MemoryScope outer;
  const at::Tensor kept = at::empty({mebibyte}, at::kByte);
  { const at::Tensor big = at::empty({8 * mebibyte}, at::kByte); }
  {
    const MemoryScope inner;
    { const at::Tensor small = at::empty({2 * mebibyte}, at::kByte); }
    EXPECT_GE(inner.peak(), 2 * mebibyte);
    EXPECT_LT(inner.peak(), 4 * mebibyte);
    EXPECT_EQ(inner.delta(), 0);
  }
  EXPECT_GE(outer.peak(), 9 * mebibyte);
  EXPECT_GE(outer.delta(), mebibyte);
  EXPECT_LT(outer.delta(), 2 * mebibyte);
}

TEST_F(Memory, AMarkHoldsCountsAndTheResidentSet) {
  const at::Tensor values = at::ones({mebibyte});
  const MemoryMark mark = mark_memory();
  EXPECT_EQ(mark.allocated, allocated_bytes());
  EXPECT_EQ(mark.reserved, mark.allocated);
  EXPECT_GE(mark.peak, mark.allocated);
  EXPECT_GT(mark.rss, 4 * mebibyte);
}

}  // namespace
}  // namespace trireme::telemetry

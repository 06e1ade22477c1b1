#include "autograd/block_int8.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

at::Tensor restored(const BlockInt8& stored) {
  const at::Tensor values = at::empty({stored.integers.numel()}, at::kFloat);
  from_int8(stored, values);
  return values;
}

TEST(BlockInt8, TheErrorIsAtMostHalfAStepOfTheBlock) {
  at::manual_seed(1);
  for (const int64_t n : {1, 255, 256, 257, 1000, 4096}) {
    const at::Tensor x = at::randn({n}) * at::pow(10.0, at::linspace(-6, 6, n));
    const BlockInt8 stored = to_int8(x);
    ASSERT_EQ(stored.scales.numel(), (n + int8_block - 1) / int8_block);
    const at::Tensor error = (restored(stored) - x).abs();
    for (int64_t b = 0; b < stored.scales.numel(); ++b) {
      const int64_t begin = b * int8_block, length = std::min(int8_block, n - begin);
      const double largest = x.narrow(0, begin, length).abs().max().item<double>();
      EXPECT_LE(error.narrow(0, begin, length).max().item<double>(), largest / 254 * 1.0001);
    }
  }
}

TEST(BlockInt8, MultiplesOfTheStepAndZerosAreExact) {
  const at::Tensor x = at::arange(-127, 128, at::kFloat);
  EXPECT_TRUE(at::equal(restored(to_int8(x)), x));
  const at::Tensor none = at::zeros({512});
  EXPECT_TRUE(at::equal(restored(to_int8(none)), none));
  const at::Tensor denormal = at::full({300}, 1e-40);
  EXPECT_TRUE(at::equal(restored(to_int8(denormal)), at::zeros({300})));
  EXPECT_EQ(restored(to_int8(at::empty({0}))).numel(), 0);
}

TEST(BlockInt8, OnlyTheBlockOfWhatIsNotFiniteIsLost) {
  for (const double bad :
       {std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity(),
        std::numeric_limits<double>::quiet_NaN()}) {
    at::Tensor x = at::ones({768});
    x[300] = bad;
    const at::Tensor y = restored(to_int8(x));
    EXPECT_TRUE(y.narrow(0, 256, 256).isnan().all().item<bool>());
    EXPECT_TRUE(at::equal(y.narrow(0, 0, 256), at::ones({256})));
    EXPECT_TRUE(at::equal(y.narrow(0, 512, 256), at::ones({256})));
  }
}

TEST(BlockInt8, OtherDevicesComputeTheSame) {
  at::manual_seed(2);
  at::Tensor x = at::randn({1000});
  x.narrow(0, 256, 256).zero_();
  x[600] = std::numeric_limits<double>::infinity();
  const BlockInt8 ours = to_int8(x), theirs = reference::to_int8(x);
  EXPECT_TRUE(at::equal(ours.integers, theirs.integers));
  EXPECT_TRUE(at::allclose(ours.scales, theirs.scales, 0, 0, true));
  const at::Tensor values = at::empty({1000});
  reference::from_int8(theirs, values);
  EXPECT_TRUE(at::allclose(values, restored(ours), 0, 0, true));
}

}  // namespace
}  // namespace trireme::autograd

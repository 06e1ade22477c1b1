#include "ops/kernels.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <memory>

namespace trireme::ops {
namespace {

class SquareSum : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }
  std::shared_ptr<void> opened_;
};

TEST_P(SquareSum, IsThatOfAllElementsInDoublePrecision) {
  if (!GetParam().kernels) return;  // only kernels have this operation
  const auto expect = [](const std::vector<int64_t>& sizes, bool aligned) {
    Tensors buffers;
    double exact = 0;
    for (const int64_t n : sizes) {
      const at::Tensor x = at::randn({n}) * 100;
      exact += x.to(at::kDouble).square().sum().item<double>();
      buffers.push_back(aligned ? x.to(GetParam().device) : misaligned(x.to(GetParam().device)));
    }
    Kernels& kernels = *kernels_for(buffers[0]);
    const at::Tensor sum = kernels.square_sum(buffers);
    EXPECT_EQ(sum.scalar_type(), at::kDouble);
    EXPECT_EQ(sum.dim(), 0);
    EXPECT_NEAR(sum.item<double>(), exact, 1e-12 * exact);
    EXPECT_EQ(kernels.square_sum(buffers).item<double>(), sum.item<double>());
  };
  for (const bool aligned : {true, false}) {
    for (const int64_t n : {0, 1, 3, 4, 1000, 50001}) expect({n}, aligned);
    expect({5, 0, 20000, 1}, aligned);
    expect(std::vector<int64_t>(130, 7), aligned);  // more than one launch takes
  }
}

TEST_P(SquareSum, NumbersThatAreNoneAreSeen) {
  if (!GetParam().kernels) return;
  at::Tensor x = at::ones({3000}).to(GetParam().device);
  x[2999] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(kernels_for(x)->square_sum({x}).isinf().item<bool>());
  x[17] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(kernels_for(x)->square_sum({x}).isnan().item<bool>());
}

INSTANTIATE_TEST_SUITE_P(Ops, SquareSum, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

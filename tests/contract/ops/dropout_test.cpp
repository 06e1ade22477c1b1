#include <trireme/ops/dropout.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <limits>
#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

class Dropout : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  static at::Tensor keys(int64_t batch) {
    std::vector<int64_t> samples;
    for (int64_t b = 0; b < batch; ++b) samples.push_back(b * 1000000007);
    return sample_keys(core::RandomKey(5), samples);
  }

 private:
  std::shared_ptr<void> opened_;
};

// The bits are the same everywhere: a run may go on with another number of ranks, on another device.
TEST_P(Dropout, GivesTheReferencesBits) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf})
    for (const at::DimVector& sizes : {at::DimVector{1, 1}, {2, 5, 13}, {3, 64}, {7, 4096}, {40, 8}, {0, 8}, {2, 0}})
      for (const double p : {0.1, 0.25, 0.9}) {
        const at::Tensor x = at::randn(sizes).to(type), dy = at::randn(sizes).to(type), of = keys(sizes[0]);
        const auto expected = [&](const at::Tensor& t) {
          const at::Tensor kept = reference::dropout(at::ones(sizes), p, of, "here") != 0;
          return at::where(kept, t.to(at::kFloat) * (1.0 / (1.0 - p)), at::zeros({})).to(type);
        };
        for (const bool aligned : {true, false}) {
          const auto there = [&](const at::Tensor& t) {
            return aligned ? t.to(GetParam().device) : misaligned(t.to(GetParam().device));
          };
          const Tensors got = results_and_gradients(
              [&](const Tensors& in) { return Tensors{dropout(in[0], p, of.to(GetParam().device), "here")}; }, {there(x)}, {there(dy)});
          EXPECT_EQ(got[0].scalar_type(), type);
          EXPECT_TRUE(at::equal(got[0].cpu(), expected(x))) << type << sizes;
          EXPECT_TRUE(at::equal(got[1].cpu(), expected(dy))) << type << sizes;
        }
      }
}

TEST_P(Dropout, WhatIsDroppedIsZeroWhateverItWas) {
  const at::Tensor x = at::full({1, 1000}, std::numeric_limits<float>::infinity()).to(GetParam().device);
  const at::Tensor y = dropout(x, 0.5, keys(1).to(GetParam().device), "here").cpu();
  EXPECT_TRUE(y.isnan().logical_not().all().item<bool>());
  EXPECT_GT((y == 0).sum().item<int64_t>(), 300);
}

TEST_P(Dropout, SamplesAreNamedInsteadOfKeysToo) {
  const at::Tensor x = at::randn({2, 100}).to(GetParam().device);
  const std::vector<int64_t> samples = {4, 9};
  const at::Tensor of = sample_keys(core::RandomKey(7), samples).to(GetParam().device);
  EXPECT_TRUE(at::equal(dropout(x, 0.5, core::RandomKey(7), samples, "there"), dropout(x, 0.5, of, "there")));
}

INSTANTIATE_TEST_SUITE_P(Ops, Dropout, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

#include <trireme/ops/rotary.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <cmath>
#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

double tolerance_of(at::ScalarType type) {
  return type == at::kDouble ? 1e-12 : type == at::kFloat ? 1e-6 : type == at::kHalf ? 1e-3 : 8e-3;
}

class RotaryEmbedding : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  [[nodiscard]] std::vector<at::ScalarType> types() const {
    std::vector<at::ScalarType> all = {at::kFloat, at::kBFloat16, at::kHalf};
    if (!GetParam().kernels) all.push_back(at::kDouble);
    return all;
  }

  // `tokens_more`: how much longer the tables are.
  void expect_agreement(const std::vector<int64_t>& sizes, at::ScalarType type, int64_t tokens_more = 0,
                        const std::function<at::Tensor(const at::Tensor&)>& view = {}) const {
    const RotaryTables tables = rotary_tables(10000, sizes[3], sizes[1] + tokens_more);
    const at::Tensor x = at::randn(sizes).to(type), dy = at::randn(sizes).to(type);
    const Tensors exact = results_and_gradients(
        [&](const Tensors& in) {
          return Tensors{reference::rotary(in[0], tables.cosine.narrow(0, 0, sizes[1]), tables.sine.narrow(0, 0, sizes[1]))};
        },
        {x.to(at::kDouble)}, {dy.to(at::kDouble)});
    at::Tensor cosine = tables.cosine.to(GetParam().device), sine = tables.sine.to(GetParam().device);
    Tensors there = {x.to(GetParam().device)}, given = {dy.to(GetParam().device)};
    if (view)
      for (at::Tensor* t : {&there[0], &given[0], &cosine, &sine}) *t = view(*t);
    const Tensors ours =
        results_and_gradients([&](const Tensors& in) { return Tensors{rotary(in[0], cosine, sine)}; }, there, given);
    EXPECT_EQ(ours[0].scalar_type(), type);
    expect_close(ours, exact, tolerance_of(type));
  }

 private:
  std::shared_ptr<void> opened_;
};

TEST_P(RotaryEmbedding, AgreesWithDoublePrecision) {
  for (const at::ScalarType type : types()) {
    for (const int64_t head_size : {2, 6, 16, 20, 64, 128}) expect_agreement({2, 5, 3, head_size}, type);
    expect_agreement({3, 40, 12, 64}, type, 7);
    for (const int64_t none : {0, 1, 2}) {
      std::vector<int64_t> sizes = {2, 3, 4, 16};
      sizes[static_cast<size_t>(none)] = 0;
      expect_agreement(sizes, type);
    }
  }
}

TEST_P(RotaryEmbedding, TakesWhatIsNotAlignedAndWhatIsNotDense) {
  for (const at::ScalarType type : types()) {
    expect_agreement({2, 5, 3, 64}, type, 0, misaligned);
    expect_agreement({2, 5, 3, 64}, type, 0, [](const at::Tensor& t) {
      return at::cat({t, t}, -1).narrow(-1, t.size(-1), t.size(-1));
    });
  }
}

TEST_P(RotaryEmbedding, ProductsDependOnDistancesOnly) {
  const RotaryTables tables = rotary_tables(10000, 32, 50);
  const at::Tensor q = at::randn({1, 1, 1, 32}).expand({1, 50, 1, 32}), k = at::randn({1, 1, 1, 32}).expand({1, 50, 1, 32});
  const auto turned = [&](const at::Tensor& x) {
    const c10::Device there = GetParam().device;
    return rotary(x.to(there), tables.cosine.to(there), tables.sine.to(there)).cpu().view({50, 32});
  };
  const at::Tensor products = at::mm(turned(q), turned(k).t());
  for (int64_t t = 0; t + 1 < 50; ++t) EXPECT_NEAR(products[t][0].item<float>(), products[t + 1][1].item<float>(), 1e-4) << t;
}

INSTANTIATE_TEST_SUITE_P(Ops, RotaryEmbedding, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

TEST(RotaryTables, HoldTheAnglesOfPositionsAndFrequencies) {
  const RotaryTables tables = rotary_tables(500000, 8, 1000);
  ASSERT_EQ(tables.sine.sizes(), (std::vector<int64_t>{1000, 4}));
  for (const int64_t t : {0, 1, 999})
    for (int64_t i = 0; i < 4; ++i) {
      const double angle = static_cast<double>(t) * std::pow(500000.0, -2.0 * static_cast<double>(i) / 8.0);
      EXPECT_FLOAT_EQ(tables.cosine[t][i].item<float>(), static_cast<float>(std::cos(angle)));
      EXPECT_FLOAT_EQ(tables.sine[t][i].item<float>(), static_cast<float>(std::sin(angle)));
    }
}

}  // namespace
}  // namespace trireme::ops

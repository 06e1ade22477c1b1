#include <trireme/ops/embedding.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

class Embedding : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  // ATen's code for the CPU adds up in the weight's own type.
  [[nodiscard]] std::vector<at::ScalarType> types() const {
    if (!GetParam().kernels) return {at::kFloat, at::kDouble};
    return {at::kFloat, at::kBFloat16, at::kHalf};
  }

  [[nodiscard]] Tensors results(const at::Tensor& weight, const at::Tensor& indices, const at::Tensor& dy) const {
    const at::Tensor there = indices.to(GetParam().device);
    return results_and_gradients([&](const Tensors& in) { return Tensors{ops::embedding(in[0], there)}; },
                                 {weight.to(GetParam().device)}, {dy.to(GetParam().device)});
  }

  void expect_agreement(int64_t rows, int64_t columns, const at::Tensor& indices, at::ScalarType type) const {
    std::vector<int64_t> sizes = indices.sizes().vec();
    sizes.push_back(columns);
    const at::Tensor weight = at::randn({rows, columns}).to(type), dy = at::randn(sizes).to(type);
    const Tensors exact =
        results_and_gradients([&](const Tensors& in) { return Tensors{reference::embedding(in[0], indices)}; },
                              {weight.to(at::kDouble)}, {dy.to(at::kDouble)});
    const Tensors ours = results(weight, indices, dy);
    EXPECT_TRUE(at::equal(ours[0].cpu().to(at::kDouble), exact[0]));
    EXPECT_EQ(ours[1].scalar_type(), type);
    const double tolerance = type == at::kFloat || type == at::kDouble ? 1e-6 : type == at::kHalf ? 1e-3 : 1e-2;
    expect_close({ours[1]}, {exact[1]}, tolerance);
    EXPECT_TRUE(at::equal(ours[1].cpu().to(at::kDouble) == 0, exact[1] == 0)) << "rows that nothing points to";
  }

  static at::Tensor some(int64_t rows, std::vector<int64_t> sizes) {
    return at::randint(rows, sizes, at::TensorOptions(at::kLong));
  }

 private:
  std::shared_ptr<void> opened_;
};

TEST_P(Embedding, AgreesWithDoublePrecision) {
  for (const at::ScalarType type : types())
    for (const int64_t columns : {1, 8, 33, 768, 1032}) {
      expect_agreement(200, columns, some(200, {3, 40}), type);
      expect_agreement(5, columns, some(5, {1}), type);
      expect_agreement(5, columns, at::empty({2, 0}, at::TensorOptions(at::kLong)), type);
    }
}

TEST_P(Embedding, AddsUpRowsThatAreUsedManyTimes) {
  for (const at::ScalarType type : types())
    for (const int64_t columns : {8, 33}) {
      expect_agreement(7, columns, some(7, {1000}), type);
      expect_agreement(3, columns, at::full({300}, 1, at::TensorOptions(at::kLong)), type);
      // Runs that begin, end and meet at multiples of 64, and just beside them.
      for (const int64_t length : {63, 64, 65, 128, 129})
        expect_agreement(8, columns, at::arange(5 * length).floor_divide(length), type);
      expect_agreement(4000, columns, at::cat({some(4000, {500}), at::full({500}, 2000, at::TensorOptions(at::kLong))}), type);
    }
}

TEST_P(Embedding, TakesWhatIsNotAlignedAndWhatIsNotDense) {
  for (const at::ScalarType type : types()) {
    const at::Tensor weight = at::randn({20, 64}).to(type), indices = some(20, {6, 5}), dy = at::randn({6, 5, 64}).to(type);
    const Tensors expected = results(weight, indices, dy);
    const auto expect_same = [&](const Tensors& ours) {
      expect_equal_bits(ours, expected);
    };
    const c10::Device there = GetParam().device;
    expect_same(results(misaligned(weight.to(there)), indices, misaligned(dy.to(there))));
    expect_same(results(weight, indices.t().contiguous().t(), dy.transpose(0, 1).contiguous().transpose(0, 1)));
    expect_same(results(weight.t().contiguous().t(), indices, dy));
  }
}

TEST_P(Embedding, SameInputsGiveTheSameBits) {
  const at::Tensor weight = at::randn({7, 64}), indices = some(7, {1000}), dy = at::randn({1000, 64});
  expect_equal_bits(results(weight, indices, dy), results(weight, indices, dy));
}

INSTANTIATE_TEST_SUITE_P(Ops, Embedding, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

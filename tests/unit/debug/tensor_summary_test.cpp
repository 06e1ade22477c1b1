#include "debug/tensor_summary.h"

#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::debug {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TensorSummary summary_of(const at::Tensor& tensor) {
  SummaryBatch batch;
  EXPECT_EQ(batch.add(tensor), 0U);
  return batch.read().at(0);
}

at::Tensor waves(int64_t n, at::ScalarType type) {
  return (at::sin(at::arange(n, at::kDouble)) * 3).to(type);
}

TEST(TensorSummary, CountsAndMeasures) {
  const TensorSummary s = summary_of(at::tensor({3.0F, 0.0F, -4.0F, 0.0F}));
  EXPECT_EQ(s.elements, 4);
  EXPECT_EQ(s.zeros, 2);
  EXPECT_TRUE(s.finite());
  EXPECT_DOUBLE_EQ(s.norm(), 5);
  EXPECT_DOUBLE_EQ(s.mean(), -0.25);
  EXPECT_DOUBLE_EQ(s.min, -4);
  EXPECT_DOUBLE_EQ(s.max, 3);
  EXPECT_DOUBLE_EQ(s.max_abs(), 4);
  EXPECT_DOUBLE_EQ(s.share_of_zeros(), 0.5);
  EXPECT_NEAR(s.deviation(), std::sqrt(25.0 / 4 - 0.0625), 1e-12);
}

TEST(TensorSummary, LeavesOutWhatIsNotFinite) {
  const auto nan = std::numeric_limits<float>::quiet_NaN();
  const auto inf = static_cast<float>(infinity);
  const TensorSummary s =
      summary_of(at::tensor({3.0F, nan, inf, -inf, 4.0F, nan, 1.0F, 2.0F, nan}));
  EXPECT_EQ(s.nans, 3);
  EXPECT_EQ(s.infinities, 2);
  EXPECT_EQ(s.finite_elements(), 4);
  EXPECT_DOUBLE_EQ(s.min, 1);
  EXPECT_DOUBLE_EQ(s.max, 4);
  EXPECT_DOUBLE_EQ(s.norm(), std::sqrt(30.0));
  const TensorSummary none = summary_of(at::full({5}, nan));
  EXPECT_EQ(none.nans, 5);
  EXPECT_EQ(none.max_abs(), 0);
}

TEST(TensorSummary, AgreesWithLibTorchOfEveryTypeAndSize) {
  for (const at::ScalarType type :
       {at::kFloat, at::kDouble, at::kBFloat16, at::kHalf, at::kLong, at::kByte})
    for (const int64_t n : {1, 7, 8, 9, 1000, 65'536, 65'537, 600'001}) {
      at::Tensor x = waves(n, at::kDouble);
      if (type == at::kByte) x = x.abs();
      x = x.to(type);
      if (x.is_floating_point() && n > 8) {
        x[3] = infinity;
        x[n - 2] = std::nan("");
        x[n / 2] = 0;
      }
      const TensorSummary s = summary_of(x);
      const at::Tensor row = summary_row(x);
      const double* const v = row.const_data_ptr<double>();
      EXPECT_EQ(static_cast<double>(s.zeros), v[0]) << type << n;
      EXPECT_EQ(static_cast<double>(s.nans), v[1]) << type << n;
      EXPECT_EQ(static_cast<double>(s.infinities), v[2]) << type << n;
      EXPECT_NEAR(s.sum, v[3], 1e-6 * static_cast<double>(n)) << type << n;
      EXPECT_NEAR(s.square_sum, v[4], 1e-6 * static_cast<double>(n)) << type << n;
      EXPECT_EQ(s.min, v[5]) << type << n;
      EXPECT_EQ(s.max, v[6]) << type << n;
    }
}

TEST(TensorSummary, LargeValuesDoNotOverflowNorSmallOnesVanish) {
  for (const int64_t n : {100, 10'000})
    for (const float size : {1e30F, 1e-30F}) {
      at::Tensor x = at::full({n}, size);
      x[n - 1] = 0;
      const TensorSummary s = summary_of(x);
      EXPECT_TRUE(s.finite());
      EXPECT_EQ(s.zeros, 1);
      EXPECT_NEAR(s.norm() / static_cast<double>(size) / std::sqrt(static_cast<double>(n - 1)), 1,
                  1e-6);
    }
}

TEST(TensorSummary, TakesWhatIsNotContiguousSparseEmptyOrWithoutMemory) {
  EXPECT_EQ(summary_of(waves(12, at::kFloat).reshape({3, 4}).t()).elements, 12);
  EXPECT_DOUBLE_EQ(summary_of(at::ones({4, 4}).t().slice(0, 0, 2)).sum, 8);
  const at::Tensor sparse = at::sparse_coo_tensor(at::tensor({1, 1, 3}, at::kLong).reshape({1, 3}),
                                                  at::tensor({1.0F, 2.0F, 4.0F}), {9});
  EXPECT_DOUBLE_EQ(summary_of(sparse).norm(), 5);  // coalesced
  EXPECT_EQ(summary_of(at::empty({0})).elements, 0);
  EXPECT_EQ(summary_of(at::empty({3}, at::TensorOptions(at::kMeta))).elements, 3);
}

TEST(TensorSummary, BatchesKeepTheirOrderAndStartAgain) {
  SummaryBatch batch;
  for (int i = 1; i < 4; ++i) EXPECT_EQ(batch.add(at::full({2}, i)), static_cast<size_t>(i - 1));
  const std::vector<TensorSummary> all = batch.read();
  ASSERT_EQ(all.size(), 3U);
  EXPECT_DOUBLE_EQ(all[2].sum, 6);
  EXPECT_TRUE(batch.read().empty());
}

}  // namespace
}  // namespace trireme::debug

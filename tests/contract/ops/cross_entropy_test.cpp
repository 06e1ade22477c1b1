#include <trireme/core/error.h>
#include <trireme/ops/cross_entropy.h>

#include "ops/reference.h"
#include "support/kernel_implementations.h"
#include "support/operation_results.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

namespace trireme::ops {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

class CrossEntropySums : public testing::TestWithParam<KernelImplementation> {
 protected:
  void SetUp() override {
    at::manual_seed(1);
    opened_ = GetParam().open();
  }

  struct Result {
    double loss, weight, correct;
    at::Tensor gradient;
  };
  // Of `scale` times the loss of logits that lie on `device`, as a model's do: they are no leaf.
  template <class F>
  static Result result(F operation, const at::Tensor& leaf, const at::Tensor& targets, const at::Tensor& mask,
                       const CrossEntropyOptions& options, double scale) {
    const at::Tensor x = leaf.detach().requires_grad_(true);
    const CrossEntropy sums = operation(x.view(x.sizes()), targets, mask, options);
    EXPECT_EQ(sums.loss_sum.device(), leaf.device());
    EXPECT_EQ(sums.weight.device(), leaf.device());
    EXPECT_EQ(sums.loss_sum.dim() + sums.weight.dim() + sums.correct.dim(), 0);
    torch::autograd::backward({sums.loss_sum * scale});
    return {sums.loss_sum.template item<double>(), sums.weight.template item<double>(), sums.correct.template item<double>(), x.grad()};
  }
  static Result ours(const at::Tensor& logits, const at::Tensor& targets, const at::Tensor& mask = {},
                     const CrossEntropyOptions& options = {}, double scale = 1.0) {
    const c10::Device device = GetParam().device;
    return result(cross_entropy_sum, logits, targets.to(device), mask.defined() ? mask.to(device) : mask, options, scale);
  }
  static at::Tensor there(const at::Tensor& logits, bool aligned = true) {
    const at::Tensor copy = logits.detach().clone().to(GetParam().device);
    return aligned ? copy : misaligned(copy);
  }
  static at::Tensor longs(const std::vector<int64_t>& values) { return at::tensor(values, at::TensorOptions(at::kLong)); }
  static at::Tensor row(const std::vector<float>& values) { return at::tensor(values).unsqueeze(0); }

  static void expect_agreement(int64_t n, int64_t classes, at::ScalarType type, const at::Tensor& mask = {}) {
    const at::Tensor logits = (at::randn({n, classes}) * 3).to(type);
    at::Tensor targets = at::randint(0, classes, {n}, at::TensorOptions(at::kLong));
    if (n > 3) targets[3] = -7;
    CrossEntropyOptions options{.ignore_index = -7};
    const Result exact = result(reference::cross_entropy_sum, logits.to(at::kDouble), targets, mask, options, 0.25);
    for (const bool aligned : {true, false})
      for (const bool consume : {false, true}) {
        options.consume_logits = consume;
        const Result got = ours(there(logits, aligned), targets, mask, options, 0.25);
        EXPECT_NEAR(got.loss, exact.loss, 3e-6 * (1 + std::abs(exact.loss))) << classes;
        EXPECT_EQ(got.weight, exact.weight);
        EXPECT_EQ(got.correct, exact.correct);
        EXPECT_EQ(got.gradient.scalar_type(), type);
        expect_close({got.gradient}, {exact.gradient}, type == at::kFloat ? 2e-6 : type == at::kHalf ? 1e-3 : 8e-3);
      }
  }

 private:
  std::shared_ptr<void> opened_;
};

TEST_P(CrossEntropySums, AgreeWithTheReferenceInDoublePrecision) {
  for (const auto type : {at::kFloat, at::kBFloat16, at::kHalf}) {
    for (const int64_t classes : {1, 2, 7, 8, 9, 257, 1000, 4099}) expect_agreement(7, classes, type);
    for (const int64_t n : {0, 1, 60}) expect_agreement(n, 33, type);
    expect_agreement(6, 50, type, at::tensor({1, 0, 1, 1, 0, 1}).to(at::kByte));
    expect_agreement(6, 50, type, at::tensor({1, 0, 1, 1, 0, 1}).to(at::kBool));
    expect_agreement(6, 50, type, at::zeros({6}));
  }
}

// Its rows begin anywhere between two multiples of 16 bytes.
TEST_P(CrossEntropySums, TakeTheVocabularyOfGpt2) {
  expect_agreement(9, 50257, at::kBFloat16);
  expect_agreement(2, 50257, at::kFloat);
}

TEST_P(CrossEntropySums, RowsThatDoNotCountHaveNoGradientWhateverTheyHold) {
  at::Tensor logits = at::randn({4, 40});
  logits[1].fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor targets = longs({3, -100, 99, 5}), mask = at::tensor({1, 1, 0, 1});
  for (const bool consume : {false, true}) {
    const Result got = ours(there(logits), targets, mask, {.consume_logits = consume});
    EXPECT_TRUE(std::isfinite(got.loss));
    EXPECT_EQ(got.weight, 2);
    for (const int64_t i : {1, 2}) EXPECT_EQ(got.gradient[i].abs().max().item<double>(), 0.0);
    for (const int64_t i : {0, 3}) EXPECT_GT(got.gradient[i].abs().max().item<double>(), 0.0);
  }
}

TEST_P(CrossEntropySums, ATargetThatIsNoClassIsNoticed) {
  const at::Tensor logits = at::randn({4, 40});
  for (const int64_t bad : {int64_t{40}, int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
    at::Tensor targets = at::zeros({4}, at::TensorOptions(at::kLong));
    targets[2] = bad;
    if (GetParam().kernels)
      EXPECT_TRUE(std::isnan(ours(there(logits), targets).loss));
    else
      EXPECT_THROW(ours(there(logits), targets), Error);
  }
}

TEST_P(CrossEntropySums, ExtremeLogits) {
  const at::Tensor first = at::zeros({1}, at::TensorOptions(at::kLong));
  const Result huge = ours(there(row({1e30F, 0, -1e30F})), first);
  EXPECT_EQ(huge.loss, 0.0);
  EXPECT_EQ(huge.gradient.abs().max().item<float>(), 0.0F);
  // Classes that are switched off have no probability and no gradient, in a thread's first elements too.
  std::vector<float> off(3000, -infinity);
  off[0] = off[2999] = 1;
  const Result two = ours(there(row(off)), first);
  EXPECT_NEAR(two.loss, std::log(2.0), 1e-6);
  EXPECT_EQ(two.gradient[0][1].item<float>(), 0.0F);
  EXPECT_NEAR(two.gradient[0][2999].item<float>(), 0.5F, 1e-6);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), infinity})
    EXPECT_TRUE(std::isnan(ours(there(row({0, 1, bad})), first).loss));
}

TEST_P(CrossEntropySums, CorrectMeansTheFirstLargest) {
  const at::Tensor logits = at::zeros({3, 5000});
  logits.index_put_({at::arange(3).unsqueeze(1), longs({70, 4000}).unsqueeze(0)}, at::tensor(2.0F));
  EXPECT_EQ(ours(there(logits), longs({69, 70, 4000})).correct, 1);
  EXPECT_EQ(ours(there(logits), longs({70, 70, 70})).correct, 3);
  EXPECT_EQ(ours(there(logits), longs({4000, 4000, 4001})).correct, 0);
}

TEST_P(CrossEntropySums, ConsumedLogitsAreConsumedOnce) {
  const at::Tensor leaf = there(at::randn({2, 40})).requires_grad_(true), x = leaf * 1.0;
  const auto sums = cross_entropy_sum(x, longs({3, 5}).to(GetParam().device), {}, {.consume_logits = true});
  torch::autograd::backward({sums.loss_sum}, {}, /*retain_graph=*/true);
  EXPECT_TRUE(at::equal(x.detach(), leaf.grad())) << "the gradient is written over the logits";
  EXPECT_THROW(torch::autograd::backward({sums.loss_sum}), std::exception);
}

TEST_P(CrossEntropySums, SameInputsSameBits) {
  const at::Tensor logits = at::randn({50, 3001}).to(at::kBFloat16), targets = at::randint(0, 3001, {50}, at::TensorOptions(at::kLong));
  const Result one = ours(there(logits), targets), two = ours(there(logits), targets);
  EXPECT_EQ(one.loss, two.loss);
  EXPECT_TRUE(at::equal(one.gradient, two.gradient));
}

INSTANTIATE_TEST_SUITE_P(Ops, CrossEntropySums, testing::ValuesIn(kernel_implementations()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace trireme::ops

#include <trireme/autograd/activation_storage.h>
#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>
#include <trireme/telemetry/memory.h>

#include "unit/autograd/residual_stack.h"

#include <cmath>
#include <limits>
#include <optional>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::autograd {
namespace {

using Tensors = std::vector<at::Tensor>;

at::Tensor activation(at::IntArrayRef sizes = {32, 64}) {
  return at::randn(sizes).requires_grad_(true) * 1;
}

struct Outcome {
  Tensors gradients;
  int64_t held = 0;  // bytes that live between forward and backward
};

Outcome run(ResidualStack& stack, const at::Tensor& x, std::optional<ActivationForm> form,
            bool recompute = false) {
  telemetry::install_counting_allocator();
  const telemetry::MemoryScope memory;
  std::optional<ActivationStorage> storage;
  std::optional<SavedTensorScope> scope;
  if (form) scope.emplace(storage.emplace(*form));
  at::Tensor y = recompute ? stack.recomputed(x) : stack.plain(x);
  scope.reset();
  const at::Tensor loss = y.sum();
  y.reset();
  const int64_t held = memory.delta();
  backward(loss);
  if (storage) {
    EXPECT_EQ(storage->stored_tensors(), 0);
    EXPECT_EQ(storage->stored_bytes(), 0);
  }
  return {stack.take_gradients(), held};
}

struct ActivationStorageTest : testing::Test {
  ActivationStorageTest() { install_engine(); }
  ResidualStack stack{4, 32};
  at::Tensor x = at::randn({64, 32, 32});
};

TEST_F(ActivationStorageTest, Bf16HalvesTheMemoryForAnErrorOfAPercent) {
  const Outcome exact = run(stack, x, std::nullopt);
  const Outcome rounded = run(stack, x, ActivationForm::bf16);
  EXPECT_LT(static_cast<double>(rounded.held), 0.56 * static_cast<double>(exact.held));
  const double error = relative_difference(rounded.gradients, exact.gradients);
  EXPECT_LT(error, 1e-2);
  EXPECT_GT(error, 0);
}

TEST_F(ActivationStorageTest, Int8QuartersTheMemory) {
  const Outcome exact = run(stack, x, std::nullopt);
  const Outcome rounded = run(stack, x, ActivationForm::int8);
  EXPECT_LT(static_cast<double>(rounded.held), 0.31 * static_cast<double>(exact.held));
  const double error = relative_difference(rounded.gradients, exact.gradients);
  EXPECT_LT(error, 3e-2);
  EXPECT_GT(error, 0);
}

TEST_F(ActivationStorageTest, OnTheCpuHostCopiesNothing) {
  const Outcome exact = run(stack, x, std::nullopt);
  const Outcome offloaded = run(stack, x, ActivationForm::host);
  EXPECT_TRUE(bit_equal(offloaded.gradients, exact.gradients));
  EXPECT_NEAR(static_cast<double>(offloaded.held), static_cast<double>(exact.held),
              1e-3 * static_cast<double>(exact.held));
}

TEST_F(ActivationStorageTest, InputsOfRecomputedRegionsAreStored) {
  const Outcome exact = run(stack, x, std::nullopt);
  const Outcome recomputed = run(stack, x, std::nullopt, true);
  const Outcome both = run(stack, x, ActivationForm::bf16, true);
  EXPECT_TRUE(bit_equal(recomputed.gradients, exact.gradients));
  EXPECT_LT(relative_difference(both.gradients, exact.gradients), 1e-2);
  // Three of the four inputs are activations; the first is the batch.
  EXPECT_LT(static_cast<double>(both.held), 0.6 * static_cast<double>(recomputed.held));
}

TEST_F(ActivationStorageTest, WhatTwoOperationsSaveIsStoredOnce) {
  ActivationStorage storage(ActivationForm::bf16);
  const at::Tensor h = activation();
  at::Tensor loss;
  {
    const SavedTensorScope scope(storage);
    loss = (at::sin(h) + at::cos(h)).sum();
  }
  EXPECT_EQ(storage.stored_tensors(), 1);
  EXPECT_EQ(storage.stored_bytes(), h.numel() * 2);
  backward(loss);
  EXPECT_EQ(storage.stored_tensors(), 0);
}

TEST_F(ActivationStorageTest, AChangedTensorIsAnother) {
  ActivationStorage storage(ActivationForm::bf16);
  const SavedTensorScope scope(storage);
  at::Tensor h = activation();
  const at::Tensor a = at::sin(h);
  h.add_(1);
  const at::Tensor b = at::sin(h);
  const at::Tensor c = at::sin(h.narrow(0, 0, 16)) + at::sin(h.narrow(0, 16, 16));
  EXPECT_EQ(storage.stored_tensors(), 4);
}

TEST_F(ActivationStorageTest, ANewTensorInOldMemoryIsAnother) {
  ActivationStorage storage(ActivationForm::bf16);
  const SavedTensorScope scope(storage);
  const at::Tensor w = at::ones({64, 64}).requires_grad_(true);
  at::Tensor sum = at::zeros({});
  for (int i = 1; i <= 8; ++i) sum = sum + at::square(w * i).sum();  // frees w * i, but for us
  EXPECT_EQ(storage.stored_tensors(), 8);
  backward(sum);
  EXPECT_TRUE(at::equal(w.grad(), at::full({64, 64}, 2.0 * 204)));
}

TEST_F(ActivationStorageTest, LeavesParametersStatisticsAndSmallOrIntegerTensorsAlone) {
  const at::Tensor frozen = at::randn({64, 64}), w = at::randn({64, 64}).requires_grad_(true);
  ActivationStorage storage(ActivationForm::int8, {{"frozen", frozen}});
  const SavedTensorScope scope(storage);
  const at::Tensor mask = at::ones({32, 64}, at::kBool);
  const at::Tensor y = at::linear(at::randn({32, 64}), w);             // saves the batch
  const at::Tensor kept = at::mm(y, frozen.t()).masked_fill(mask, 0);  // and the frozen weight
  const at::Tensor z = at::linear(activation({10, 64}), w);            // and a view of w
  const at::Tensor small = at::sin(activation({10, 10}));
  const at::Tensor d = at::sin(activation().to(at::kDouble));
  const at::Tensor expanded = at::sin(activation({64, 1}).expand({64, 64}));
  const at::Tensor scaled = activation({2048}) * at::randn({2048});  // a statistic of rows
  EXPECT_EQ(storage.stored_tensors(), 0);
  const at::Tensor probabilities = activation({2, 4, 32, 32}) * at::rand({2, 4, 32, 32});
  EXPECT_EQ(storage.stored_tensors(), 1);
  backward(kept.sum() + z.sum());
  EXPECT_TRUE(w.grad().defined());
}

TEST_F(ActivationStorageTest, KeepsStridesOfPermutedTensorsAndValuesOfViews) {
  for (const ActivationForm form : {ActivationForm::bf16, ActivationForm::int8}) {
    at::manual_seed(1);
    const at::Tensor base = at::randn({8, 16, 3, 32}).requires_grad_(true);
    const auto of = [&](const at::Tensor& leaf) {
      const at::Tensor h = leaf * 1;
      return at::sin(h.permute({0, 3, 1, 2})).sum() + at::sin(h.select(2, 1)).sum();
    };
    backward(of(base));
    const at::Tensor exact = base.grad().clone();
    base.mutable_grad().reset();
    ActivationStorage storage(form);
    at::Tensor loss;
    {
      const SavedTensorScope scope(storage);
      loss = of(base);
    }
    EXPECT_EQ(storage.stored_tensors(), 2);
    backward(loss);
    EXPECT_LT(relative_difference({base.grad()}, {exact}), 2e-2);
  }
}

TEST_F(ActivationStorageTest, AChangeInPlaceOfAKeptTensorIsRefused) {
  ActivationStorage storage(ActivationForm::bf16);
  const SavedTensorScope scope(storage);
  at::Tensor h = activation({8});
  const at::Tensor loss = at::sin(h).sum();
  h.add_(1);
  try {
    backward(loss);
    FAIL() << "nothing thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::plugin_failed);
  }
}

TEST_F(ActivationStorageTest, AChangeInPlaceOfAStoredTensorChangesNothing) {
  ActivationStorage storage(ActivationForm::bf16);
  const SavedTensorScope scope(storage);
  const at::Tensor x_leaf = at::ones({32, 64}).requires_grad_(true);
  at::Tensor h = x_leaf * 2;
  const at::Tensor loss = at::square(h).sum();
  h.add_(1);
  backward(loss);
  EXPECT_TRUE(at::equal(x_leaf.grad(), at::full({32, 64}, 8.0)));
}

TEST_F(ActivationStorageTest, WhatIsSavedMayOutliveTheStorage) {
  at::Tensor loss;
  {
    ActivationStorage storage(ActivationForm::int8);
    const SavedTensorScope scope(storage);
    loss = at::square(activation()).sum();
  }
  EXPECT_NO_THROW(backward(loss));
}

TEST_F(ActivationStorageTest, NotANumberStaysOne) {
  ActivationStorage storage(ActivationForm::int8);
  const SavedTensorScope scope(storage);
  const at::Tensor x_leaf = at::ones({32, 64}).requires_grad_(true);
  const at::Tensor factor = at::ones({32, 64});
  factor[0][0] = std::numeric_limits<double>::infinity();
  backward(at::square(x_leaf * factor).sum());
  EXPECT_FALSE(std::isfinite(x_leaf.grad().sum().item<double>()));
  EXPECT_EQ(x_leaf.grad()[31][63].item<double>(), 2.0);
}

}  // namespace
}  // namespace trireme::autograd

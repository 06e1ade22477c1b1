#include "infer/generate.h"

#include <trireme/core/error.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace trireme::infer {
namespace {

TEST(ChooseToken, ZeroTemperatureTakesTheLargest) {
  EXPECT_EQ(choose_token(at::tensor({0.1, 3.0, 2.9}), {.temperature = 0}, 0.99), 1);
}

TEST(ChooseToken, SplitsTheUnitIntervalByProbability) {
  const at::Tensor logits = at::log(at::tensor({0.2, 0.5, 0.3}, at::kDouble));
  const Sampling plain{.temperature = 1.0};
  EXPECT_EQ(choose_token(logits, plain, 0.0), 0);
  EXPECT_EQ(choose_token(logits, plain, 0.19), 0);
  EXPECT_EQ(choose_token(logits, plain, 0.21), 1);
  EXPECT_EQ(choose_token(logits, plain, 0.69), 1);
  EXPECT_EQ(choose_token(logits, plain, 0.71), 2);
  EXPECT_EQ(choose_token(logits, plain, 0.999999), 2);
}

TEST(ChooseToken, TopKLeavesOnlyTheLargest) {
  const at::Tensor logits = at::log(at::tensor({0.2, 0.5, 0.3}, at::kDouble));
  for (const double u : {0.0, 0.3, 0.61, 0.63, 0.99}) {
    EXPECT_NE(choose_token(logits, {.temperature = 1.0, .top_k = 2}, u), 0) << u;
  }
}

TEST(Generate, CropsToTheContextAndIsRepeatable) {
  std::vector<int64_t> lengths;
  const NextLogits successor = [&](const at::Tensor& tokens) {
    lengths.push_back(tokens.size(1));
    at::Tensor logits = at::zeros({1, 10});
    logits[0][(tokens[0][-1].item<int64_t>() + 1) % 10] = 5.0;
    return logits;
  };
  std::vector<int64_t> seen;
  const Sampling sampling{.max_tokens = 6, .temperature = 0.7, .seed = 3};
  const auto first = generate(successor, {1, 2, 3}, 4, sampling, [&](int64_t t) { seen.push_back(t); });
  EXPECT_EQ(lengths, (std::vector<int64_t>{3, 4, 4, 4, 4, 4}));
  EXPECT_EQ(first.size(), 9U);
  EXPECT_EQ(std::vector<int64_t>(first.begin() + 3, first.end()), seen);
  EXPECT_EQ(generate(successor, {1, 2, 3}, 4, sampling, [](int64_t) {}), first);
}

TEST(Generate, RefusesAnEmptyPrompt) {
  EXPECT_THROW(generate([](const at::Tensor& t) { return t; }, {}, 4, {}, [](int64_t) {}), Error);
}

}  // namespace
}  // namespace trireme::infer

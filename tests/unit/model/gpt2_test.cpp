#include "model/gpt2.h"

#include <trireme/autograd/backward.h>
#include <trireme/core/error.h>

#include "unit/model/gpt2_reference.h"

#include <algorithm>
#include <map>
#include <set>

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::model {
namespace {

using testing_support::Gpt2Reference;

const Gpt2Settings tiny = {
    .vocab_size = 37, .n_positions = 9, .n_embd = 16, .n_layer = 2, .n_head = 4};

autograd::BuildContext seeded(uint64_t seed, at::ScalarType type = at::kFloat) {
  autograd::BuildContext context;
  context.random = core::RandomKey(seed);
  context.dtype = type;
  return context;
}

core::Batch make_batch(std::vector<int64_t> samples, int64_t length, int64_t vocabulary) {
  core::Batch batch;
  const auto n = static_cast<int64_t>(samples.size());
  at::Tensor tokens = at::empty({n, length + 1}, at::TensorOptions(at::kLong));
  for (int64_t b = 0; b < n; ++b)
    for (int64_t t = 0; t <= length; ++t)
      tokens[b][t] = static_cast<int64_t>(
          core::RandomKey(static_cast<uint64_t>(samples[static_cast<size_t>(b)]))
              .below(static_cast<uint64_t>(vocabulary), static_cast<uint64_t>(t)));
  batch.fields = {{"tokens", tokens.narrow(1, 0, length)},
                  {"targets", tokens.narrow(1, 1, length)}};
  batch.samples = std::move(samples);
  batch.random = core::RandomKey(11);
  return batch;
}

std::map<std::string, at::Tensor> gradients(Model& model) {
  std::map<std::string, at::Tensor> all;
  for (auto& p : model.parameters()) {
    EXPECT_TRUE(p.tensor.grad().defined()) << p.name;
    if (p.tensor.grad().defined()) all[p.name] = p.tensor.grad().clone();
    p.tensor.mutable_grad().reset();
  }
  return all;
}

double worst(const std::map<std::string, at::Tensor>& a,
             const std::map<std::string, at::Tensor>& b) {
  double most = 0;
  for (const auto& [name, tensor] : a)
    most = std::max(most, (tensor - b.at(name)).abs().max().item<double>());
  return most;
}

TEST(Gpt2, ProductsOfItsBlocksInEightBitsAreNearThose) {
  const Gpt2Settings settings = {.vocab_size = 37, .n_positions = 16, .n_embd = 32, .n_layer = 2, .n_head = 4};
  const core::Batch batch = make_batch({1, 2, 3}, 16, 37);
  std::vector<double> losses;
  std::vector<std::map<std::string, at::Tensor>> all;
  for (const bool fp8 : {false, true}) {
    Gpt2 model(settings);
    autograd::BuildContext context = seeded(3);
    context.fp8 = fp8;
    model.build(context);
    const LossSums sums = model.loss(batch);
    losses.push_back(sums.loss_sum.item<double>());
    autograd::backward(sums.loss_sum, 1.0);
    all.push_back(gradients(model));
  }
  EXPECT_NE(losses[0], losses[1]) << "8 bits were used";
  EXPECT_NEAR(losses[1] / losses[0], 1.0, 2e-3);
  for (const auto& [name, exact] : all[0]) {
    const at::Tensor error = all[1].at(name) - exact;
    EXPECT_LT(error.norm().item<double>(), 0.15 * exact.norm().item<double>()) << name;
  }
}

TEST(Gpt2, WidthsThatEightBitProductsCannotTakeAreRefused) {
  Gpt2 model({.vocab_size = 37, .n_positions = 9, .n_embd = 24, .n_layer = 1, .n_head = 4});
  autograd::BuildContext context = seeded(1);
  context.fp8 = true;
  model.build(context);
  try {
    (void)model.loss(make_batch({1}, 9, 37));
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    EXPECT_THAT(error.message(), testing::HasSubstr("multiples of 16"));
  }
}

TEST(Gpt2, NamesShapesAndOrderAreThoseOfHuggingFace) {
  Gpt2 model(
      {.vocab_size = 37, .n_positions = 9, .n_embd = 16, .n_layer = 1, .n_head = 4, .n_inner = 24});
  model.build(seeded(1));
  std::vector<std::string> got;
  for (const auto& p : model.parameters()) {
    got.push_back(fmt::format("{} {}", p.name, fmt::join(p.tensor.sizes(), " ")));
  }
  EXPECT_THAT(got,
              testing::ElementsAre(
                  "transformer.wte.weight 37 16", "transformer.wpe.weight 9 16",
                  "transformer.h.0.ln_1.weight 16", "transformer.h.0.ln_1.bias 16",
                  "transformer.h.0.attn.c_attn.weight 16 48", "transformer.h.0.attn.c_attn.bias 48",
                  "transformer.h.0.attn.c_proj.weight 16 16", "transformer.h.0.attn.c_proj.bias 16",
                  "transformer.h.0.ln_2.weight 16", "transformer.h.0.ln_2.bias 16",
                  "transformer.h.0.mlp.c_fc.weight 16 24", "transformer.h.0.mlp.c_fc.bias 24",
                  "transformer.h.0.mlp.c_proj.weight 24 16", "transformer.h.0.mlp.c_proj.bias 16",
                  "transformer.ln_f.weight 16", "transformer.ln_f.bias 16"));
  std::vector<std::string> units;
  for (const auto* unit : model.units()) units.push_back(unit->name());
  EXPECT_THAT(units, testing::ElementsAre("transformer.wte", "transformer.wpe", "transformer.h.0",
                                          "transformer.ln_f"));
}

TEST(Gpt2, TheSmallOneHas124439808Parameters) {
  Gpt2 model(Gpt2Settings{});
  autograd::BuildContext context = seeded(1);
  context.device = at::Device(at::kMeta);
  model.build(context);
  EXPECT_EQ(core::elements(model.parameters()), 124439808);
  EXPECT_EQ(model.context_length(), 1024);
  EXPECT_EQ(model.vocabulary(), 50257);
}

TEST(Gpt2, InitialisationIsThatOfThePaper) {
  Gpt2 model({.vocab_size = 500, .n_positions = 64, .n_embd = 64, .n_layer = 8, .n_head = 4});
  model.build(seeded(1));
  std::map<std::string, at::Tensor> p;
  for (const auto& q : model.parameters()) p[q.name] = q.tensor.detach();
  const auto deviation = [&](const std::string& name) {
    return p.at(name).std().item<double>();
  };
  EXPECT_NEAR(deviation("transformer.wte.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("transformer.h.3.attn.c_attn.weight"), 0.02, 0.001);
  EXPECT_NEAR(deviation("transformer.h.3.attn.c_proj.weight"), 0.02 / 4, 0.0003);
  EXPECT_NEAR(deviation("transformer.h.3.mlp.c_proj.weight"), 0.02 / 4, 0.0003);
  EXPECT_TRUE(at::equal(p.at("transformer.h.3.ln_1.weight"), at::ones({64})));
  EXPECT_TRUE(at::equal(p.at("transformer.h.3.mlp.c_fc.bias"), at::zeros({256})));
  EXPECT_FALSE(
      at::equal(p.at("transformer.h.3.mlp.c_fc.weight"), p.at("transformer.h.4.mlp.c_fc.weight")));

  Gpt2 again(model.settings()), other(model.settings());
  again.build(seeded(1));
  other.build(seeded(2));
  EXPECT_TRUE(at::equal(again.parameters()[0].tensor, p.at("transformer.wte.weight")));
  EXPECT_FALSE(at::equal(other.parameters()[0].tensor, p.at("transformer.wte.weight")));
}

class Gpt2Precision : public testing::TestWithParam<std::pair<at::ScalarType, double>> {};

TEST_P(Gpt2Precision, LossAndGradientsAreThoseOfPlainATen) {
  const auto [type, tolerance] = GetParam();
  Gpt2 model(tiny);
  model.build(seeded(3, type));
  // Values away from the initial ones, so that biases and norms count.
  at::manual_seed(1);
  for (auto& p : model.parameters()) {
    const at::NoGradGuard no_grad;
    p.tensor.add_(at::randn_like(p.tensor) * 0.1);
  }
  const core::Batch batch = make_batch({0, 1, 2}, 7, 37);

  core::ParameterSet copies;
  for (const auto& p : model.parameters())
    copies.push_back({p.name, p.tensor.detach().to(at::kDouble).clone().requires_grad_(true)});
  const at::Tensor expected =
      Gpt2Reference(copies, tiny).loss_sum(batch.at("tokens"), batch.at("targets"));
  torch::autograd::backward({expected});
  std::map<std::string, at::Tensor> expected_gradients;
  for (const auto& p : copies) expected_gradients[p.name] = p.tensor.grad();

  const LossSums sums = model.loss(batch);
  EXPECT_EQ(sums.weight.item<double>(), 21.0);
  EXPECT_EQ(sums.loss_sum.dim(), 0);
  EXPECT_NEAR(sums.loss_sum.item<double>() / expected.item<double>(), 1.0, tolerance);
  autograd::backward(sums.loss_sum);
  for (const auto& [name, gradient] : gradients(model)) {
    EXPECT_EQ(gradient.scalar_type(), type);
    const at::Tensor& want = expected_gradients.at(name);
    EXPECT_LT((gradient.to(at::kDouble) - want).abs().max().item<double>(),
              10 * tolerance * (1.0 + want.abs().max().item<double>()))
        << name;
  }
}
INSTANTIATE_TEST_SUITE_P(Types, Gpt2Precision,
                         testing::Values(std::pair(at::kDouble, 1e-12), std::pair(at::kFloat, 1e-6),
                                         std::pair(at::kBFloat16, 2e-2),
                                         std::pair(at::kHalf, 4e-3)));

TEST(Gpt2, SumsOfPartsAreTheSumOfTheWhole) {
  for (const double dropout : {0.0, 0.2}) {
    Gpt2Settings settings = tiny;
    settings.dropout = dropout;
    Gpt2 model(settings);
    model.build(seeded(3, at::kDouble));
    const LossSums whole = model.loss(make_batch({5, 6, 7}, 7, 37));
    autograd::backward(whole.loss_sum);
    const auto expected = gradients(model);
    double loss = 0;
    for (const auto& samples : {std::vector<int64_t>{5, 6}, std::vector<int64_t>{7}}) {
      const LossSums part = model.loss(make_batch(samples, 7, 37));
      loss += part.loss_sum.item<double>();
      autograd::backward(part.loss_sum);
    }
    EXPECT_NEAR(loss, whole.loss_sum.item<double>(), 1e-9) << "dropout " << dropout;
    EXPECT_LT(worst(expected, gradients(model)), 1e-10) << "dropout " << dropout;
  }
}

TEST(Gpt2, DropoutIsOnInTrainingOnlyAndFollowsTheBatchKey) {
  Gpt2Settings settings = tiny;
  settings.dropout = 0.3;
  Gpt2 model(settings), plain(tiny);
  model.build(seeded(3));
  plain.build(seeded(3));
  core::Batch batch = make_batch({1, 2}, 7, 37);
  const auto loss = [&](Model& of) {
    return of.loss(batch).loss_sum.item<float>();
  };
  const float first = loss(model);
  EXPECT_EQ(loss(model), first);
  EXPECT_NE(loss(plain), first);
  batch.random = core::RandomKey(12);
  EXPECT_NE(loss(model), first);
  model.set_training(false);
  EXPECT_FLOAT_EQ(loss(model), loss(plain));
}

TEST(Gpt2, AnEmptyBatchReachesAllParametersWithZero) {
  for (const double dropout : {0.0, 0.1})
    for (const auto type : {at::kFloat, at::kBFloat16}) {
      Gpt2Settings settings = tiny;
      settings.dropout = dropout;
      Gpt2 model(settings);
      model.build(seeded(3, type));
      const LossSums sums = model.loss(make_batch({}, 7, 37));
      EXPECT_EQ(sums.weight.item<double>(), 0.0);
      EXPECT_EQ(sums.loss_sum.item<double>(), 0.0);
      autograd::backward(sums.loss_sum);
      const auto all = gradients(model);
      EXPECT_EQ(all.size(), model.parameters().size());
      for (const auto& [name, gradient] : all)
        EXPECT_EQ(gradient.abs().max().item<double>(), 0.0) << name;
    }
}

TEST(Gpt2, MaskedTargetsDoNotCount) {
  Gpt2 model(tiny);
  model.build(seeded(3));
  core::Batch batch = make_batch({0, 1}, 7, 37);
  at::Tensor mask = at::zeros({2, 7});
  mask[1].narrow(0, 2, 3).fill_(1);
  batch.fields.push_back({"loss_mask", mask});
  const LossSums masked = model.loss(batch);
  EXPECT_EQ(masked.weight.item<double>(), 3.0);
  const at::Tensor log_p =
      at::log_softmax(Gpt2Reference(model.parameters(), tiny).logits(batch.at("tokens")), -1);
  const at::Tensor expected = -log_p.gather(2, batch.at("targets").unsqueeze(2)).squeeze(2);
  EXPECT_NEAR(masked.loss_sum.item<double>(), (expected * mask).sum().item<double>(), 1e-5);
}

TEST(Gpt2, AccuracyCountsTheMostLikelyTokens) {
  Gpt2 model(tiny);
  model.build(seeded(3));
  const core::Batch batch = make_batch({0, 1, 2, 3}, 9, 37);
  const at::Tensor guesses =
      Gpt2Reference(model.parameters(), tiny).logits(batch.at("tokens")).argmax(-1);
  const LossSums sums = model.loss(batch);
  ASSERT_EQ(sums.metrics.size(), 1u);
  EXPECT_EQ(sums.metrics[0].first, "accuracy");
  EXPECT_EQ(sums.metrics[0].second.item<double>(),
            guesses.eq(batch.at("targets")).sum().item<double>());
}

TEST(Gpt2, NextLogitsAreTheLastOfTheWholeForward) {
  Gpt2Settings settings = tiny;
  settings.dropout = 0.5;  // does not act here
  Gpt2 model(settings);
  model.build(seeded(3));
  const at::Tensor tokens = make_batch({0, 1}, 12, 37).at("tokens");
  const Gpt2Reference reference(model.parameters(), settings);
  for (const int64_t length : {1, 4, 9}) {
    const at::Tensor window = tokens.narrow(1, 0, length);
    const at::Tensor got = model.next_logits(window);
    EXPECT_EQ(got.sizes(), at::IntArrayRef({2, 37}));
    EXPECT_FALSE(got.requires_grad());
    EXPECT_TRUE(at::allclose(got, reference.logits(window).select(1, length - 1), 1e-4, 1e-5));
  }
  // Beyond the context only its last part counts.
  EXPECT_TRUE(at::equal(model.next_logits(tokens), model.next_logits(tokens.narrow(1, 3, 9))));
  Gpt2 half(settings);
  half.build(seeded(3, at::kBFloat16));
  EXPECT_EQ(half.next_logits(tokens).scalar_type(), at::kFloat);
}

TEST(Gpt2, ShorterSequencesAndNarrowTokenTypes) {
  Gpt2 model(tiny);
  model.build(seeded(3));
  EXPECT_EQ(model.tokens_per_sample(), 9);
  core::Batch batch = make_batch({0, 1}, 5, 37);
  const float expected = model.loss(batch).loss_sum.item<float>();
  EXPECT_EQ(model.tokens_per_sample(), 5);
  EXPECT_EQ(model.nominal_weight_per_sample(), 9.0);
  for (auto& field : batch.fields) field.values = field.values.to(at::kInt);
  EXPECT_EQ(model.loss(batch).loss_sum.item<float>(), expected);
}

template <class F>
void expect_refusal(ErrorKind kind, std::vector<std::string> parts, F&& action) {
  try {
    action();
    FAIL() << "not refused";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    for (const auto& part : parts) EXPECT_THAT(error.message(), testing::HasSubstr(part));
  }
}

TEST(Gpt2, RefusesWhatDoesNotFit) {
  expect_refusal(ErrorKind::configuration, {"n_embd 16", "n_head 3"}, [] {
    Gpt2Settings odd = tiny;
    odd.n_head = 3;
    Gpt2 model(odd);
  });
  Gpt2 model(tiny);
  model.build(seeded(1));
  EXPECT_NO_THROW(model.check_data({{"vocab_size", 37}, {"sequence_length", 9}}));
  EXPECT_NO_THROW(model.check_data({{"vocab_size", 30}, {"sequence_length", 4}}));
  EXPECT_NO_THROW(model.check_data({}));
  expect_refusal(ErrorKind::configuration, {"vocab_size 256", "vocab_size 37"}, [&] {
    model.check_data({{"vocab_size", 256}});
  });
  expect_refusal(ErrorKind::configuration, {"sequence_length 10", "n_positions 9"}, [&] {
    model.check_data({{"sequence_length", 10}});
  });
  expect_refusal(ErrorKind::configuration, {"10 tokens", "n_positions is 9"},
                 [&] { (void)model.loss(make_batch({0}, 10, 37)); });
  core::Batch bad_target = make_batch({0}, 5, 37);
  bad_target.fields[1].values = at::full_like(bad_target.fields[1].values, 40);
  expect_refusal(ErrorKind::data_damaged, {"target 40", "37 classes"},
                 [&] { (void)model.loss(bad_target); });
  core::Batch bad_token = make_batch({0}, 5, 37);
  bad_token.fields[0].values[0][3] = -1;
  expect_refusal(ErrorKind::data_damaged, {"token -1", "vocabulary of 37"},
                 [&] { (void)model.loss(bad_token); });
  expect_refusal(ErrorKind::data_damaged, {"token 37", "vocabulary of 37"}, [&] {
    (void)model.next_logits(at::full({1, 2}, 37, at::TensorOptions(at::kLong)));
  });
}

}  // namespace
}  // namespace trireme::model

#include "model/weights.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "model/conversion.h"
#include "model/pretrained.h"
#include "model/registry.h"
#include "unit/storage/temporary_folder.h"
#include "unit/storage/thrown.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace trireme::model {
namespace {

using storage::LazyTensor;
using test::error_of;
using testing::HasSubstr;

const Gpt2Settings tiny_gpt2 = {
    .vocab_size = 11, .n_positions = 6, .n_embd = 8, .n_layer = 2, .n_head = 2};

std::vector<ModelConfig> small_models() {
  ModelConfig gpt2{.name = "gpt2", .settings = tiny_gpt2};
  ModelConfig mlp{.name = "mlp", .settings = MlpSettings{.inputs = 4, .hidden = {3, 2}}};
  ModelConfig convnet{.name = "convnet", .settings = ConvNetSettings{.filters = {8, 8}}};
  ModelConfig resnet{.name = "resnet",
                     .settings = ResNetSettings{.base_width = 8, .blocks = {1, 1}}};
  return {gpt2, mlp, convnet, resnet};
}

std::unique_ptr<Model> built(const ModelConfig& config, uint64_t seed,
                             at::ScalarType dtype = at::kFloat) {
  std::unique_ptr<Model> model = create_model(config);
  model->build({.dtype = dtype, .random = core::RandomKey(seed)});
  return model;
}

LazyTensor lazy(const std::string& name, const at::Tensor& values) {
  return {{name, values.scalar_type(), values.sizes().vec()}, [values] {
            return values;
          }};
}

/// All of the model's, in another order.
std::vector<LazyTensor> weights_in(Model& model) {
  std::vector<LazyTensor> weights;
  for (const auto& p : model.parameters()) weights.push_back(lazy(p.name, p.tensor.detach()));
  for (const auto& b : model.buffers()) weights.push_back(lazy(b.name, b.tensor));
  std::reverse(weights.begin(), weights.end());
  return weights;
}

TEST(ShapesOf, AreThoseOfTheModel) {
  for (const ModelConfig& config : small_models()) {
    const auto real = built(config, 1), shapes = shapes_of(config);
    const auto expected = real->parameters(), got = shapes->parameters();
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].name, expected[i].name);
      EXPECT_EQ(got[i].tensor.sizes(), expected[i].tensor.sizes());
      EXPECT_TRUE(got[i].tensor.is_meta());
    }
  }
}

TEST(LoadWeights, IntoEveryModel) {
  for (const ModelConfig& config : small_models()) {
    const auto source = built(config, 1), target = built(config, 2);
    load_weights(*target, weights_in(*source), "file");
    const auto expected = source->parameters(), got = target->parameters();
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(at::equal(got[i].tensor, expected[i].tensor)) << config.name << got[i].name;
  }
}

TEST(LoadWeights, ConvertsTypes) {
  const ModelConfig config = small_models()[1];
  const auto source = built(config, 1), target = built(config, 2, at::kBFloat16);
  load_weights(*target, weights_in(*source), "file");
  EXPECT_TRUE(
      at::equal(target->parameters()[0].tensor, source->parameters()[0].tensor.to(at::kBFloat16)));
}

TEST(LoadWeights, ListsEverythingThatDoesNotFitAndTouchesNothing) {
  for (const ModelConfig& config : small_models()) {
    const auto source = built(config, 1), target = built(config, 2), same = built(config, 2);
    std::vector<LazyTensor> weights = weights_in(*source);
    const LazyTensor missing = weights[0], moved = weights[1], integers = weights[2];
    weights.erase(weights.begin());
    weights[0] = lazy(moved.name, at::ones({5, 4, 3}));
    weights[1] = lazy(integers.name, at::ones(integers.shape).to(at::kInt));
    weights.push_back(lazy("extra.one", at::ones({1})));
    weights.push_back(lazy("extra.two", at::ones({1})));
    const Error error = error_of([&] { load_weights(*target, weights, "some/file"); });
    EXPECT_EQ(error.kind(), ErrorKind::model_refused);
    EXPECT_THAT(error.message(), HasSubstr("some/file"));
    EXPECT_THAT(error.message(), HasSubstr("there is no tensor " + missing.name));
    EXPECT_THAT(error.message(), HasSubstr("tensor " + moved.name + " is [5, 4, 3]"));
    EXPECT_THAT(error.message(), HasSubstr("tensor " + integers.name + " is of type I32"));
    EXPECT_THAT(error.message(), HasSubstr("tensor extra.one is none of the model's"));
    EXPECT_THAT(error.message(), HasSubstr("tensor extra.two is none of the model's"));
    const auto expected = same->parameters(), got = target->parameters();
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_TRUE(at::equal(got[i].tensor, expected[i].tensor));
  }
}

TEST(MatchWeights, PrefixesAndTiesAreForGpt2Alone) {
  ModelConfig mlp = small_models()[1];
  const auto source = built(mlp, 1);
  std::vector<LazyTensor> weights = weights_in(*source);
  weights[0].name = "transformer." + weights[0].name;
  weights.push_back(lazy("lm_head.weight", at::ones({1})));
  const Error error = error_of([&] { (void)match_weights(*source, weights, "f"); });
  EXPECT_THAT(error.message(), HasSubstr("lm_head.weight is none of the model's"));
  EXPECT_THAT(error.message(), HasSubstr("there is no tensor"));
}

TEST(MatchWeights, GivesTheModelsOrderAndNames) {
  const ModelConfig gpt2 = small_models()[0];
  const auto source = built(gpt2, 1);
  std::vector<LazyTensor> weights = weights_in(*source);
  for (LazyTensor& one : weights) one.name.erase(0, std::string("transformer.").size());
  weights.push_back(lazy("lm_head.weight", source->parameters()[0].tensor.detach().clone()));
  const auto shapes = shapes_of(gpt2);
  const auto matched = match_weights(*shapes, weights, "f");
  const auto expected = source->parameters();
  ASSERT_EQ(matched.size(), expected.size());
  for (size_t i = 0; i < matched.size(); ++i) {
    EXPECT_EQ(matched[i].name, expected[i].name);
    EXPECT_TRUE(at::equal(matched[i].values(), expected[i].tensor));
  }
}

TEST(WeightsOfAFile, KeepItOpen) {
  const test::TemporaryFolder folder;
  storage::write_safetensors(folder / "f.safetensors", {{"a", at::arange(3)}, {"b", at::ones({})}});
  auto file = std::make_shared<const storage::SafetensorsFile>(folder / "f.safetensors");
  const auto weights = weights_of(file);
  file.reset();
  ASSERT_EQ(weights.size(), 2U);
  for (const LazyTensor& one : weights)
    EXPECT_TRUE(at::equal(one.values(), one.name == "a" ? at::arange(3) : at::ones({})));
}

TEST(Converted, FloatsAloneAndOnlyWhenRead) {
  int reads = 0;
  const at::Tensor values = at::tensor({1.0F, 1.0009765F, -0.0F});
  std::vector<LazyTensor> tensors = {lazy("count", at::ones({2}, at::kLong))};
  tensors.push_back({{"w", at::kFloat, {3}}, [&] {
                       ++reads;
                       return values;
                     }});
  const auto result = converted(tensors, at::kBFloat16);
  EXPECT_EQ(result[0].dtype, at::kLong);
  EXPECT_EQ(result[0].values().scalar_type(), at::kLong);
  EXPECT_EQ(result[1].dtype, at::kBFloat16);
  EXPECT_EQ(reads, 0);
  EXPECT_TRUE(at::equal(result[1].values(), values.to(at::kBFloat16)));
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(weight_dtype("fp32"), at::kFloat);
  EXPECT_EQ(weight_dtype("fp16"), at::kHalf);
  EXPECT_EQ(weight_dtype("bf16"), at::kBFloat16);
  EXPECT_FALSE(weight_dtype("f32"));
}

TEST(Converted, RefusesWhatBecomesInfinite) {
  constexpr float inf = std::numeric_limits<float>::infinity();
  const auto fits = converted({lazy("w", at::tensor({65504.0F, inf, -inf, NAN}))}, at::kHalf);
  EXPECT_EQ(fits[0].values()[0].item<float>(), 65504.0F) << "what is not finite stays so";
  const auto large = converted({lazy("h.0.w", at::tensor({1.0F, -1e5F, inf}))}, at::kHalf);
  const Error error = error_of([&] { (void)large[0].values(); });
  EXPECT_EQ(error.kind(), ErrorKind::model_refused);
  EXPECT_THAT(error.message(), HasSubstr("h.0.w: 1 values are too large for F16 (up to 100000)"));
  EXPECT_THAT(error.hint(), HasSubstr("bf16"));
}

TEST(PretrainedConfig, IsOneThatWeAccept) {
  const test::TemporaryFolder folder;
  Gpt2Settings inner = tiny_gpt2;
  inner.n_inner = 20;
  inner.dropout = 0.25;
  for (const Gpt2Settings& settings : {tiny_gpt2, inner}) {
    const ModelConfig config{.name = "gpt2", .settings = settings};
    const nlohmann::json json = pretrained_config(settings, at::kBFloat16);
    EXPECT_EQ(json.at("architectures").dump(), R"(["GPT2LMHeadModel"])");
    EXPECT_EQ(json.at("torch_dtype"), "bfloat16");
    EXPECT_EQ(json.at("attn_pdrop"), settings.dropout);
    test::put(folder / "config.json", json.dump());
    check_pretrained(*shapes_of(config), folder.path());
    Gpt2Settings other = settings;
    other.n_inner = 24;
    EXPECT_EQ(
        error_of([&] { check_pretrained(*shapes_of({.settings = other}), folder.path()); }).kind(),
        ErrorKind::model_refused);
  }
  EXPECT_TRUE(pretrained_config(tiny_gpt2, at::kFloat).at("eos_token_id").is_null());
  EXPECT_EQ(pretrained_config({}, at::kFloat).at("eos_token_id"), 50256);
}

}  // namespace
}  // namespace trireme::model

#include "model/config.h"

#include <trireme/config/load.h>
#include <trireme/core/error.h>

#include "model/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme::model {
namespace {

ModelConfig read(const std::string& text) {
  return config::load_text<ModelConfig>(text).value;
}

std::string refusal(const std::string& text) {
  try {
    (void)read(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return {};
}

TEST(ModelConfig, TheNameDecidesWhichKeysThereAre) {
  const ModelConfig gpt2 = read("name: gpt2\nconfig: {n_layer: 4, n_embd: 256, n_inner: 512}\n");
  EXPECT_EQ(std::get<Gpt2Settings>(gpt2.settings).n_layer, 4);
  EXPECT_EQ(std::get<Gpt2Settings>(gpt2.settings).inner(), 512);
  EXPECT_EQ(std::get<Gpt2Settings>(gpt2.settings).vocab_size, 50257);
  EXPECT_FALSE(gpt2.weights.has_value());

  const ModelConfig mlp =
      read("name: mlp\nweights: folder\nconfig: {hidden: [7, 8], activation: gelu}\n");
  EXPECT_EQ(std::get<MlpSettings>(mlp.settings).hidden, (std::vector<int64_t>{7, 8}));
  EXPECT_EQ(mlp.weights, "folder");
  EXPECT_EQ(std::get<ConvNetSettings>(read("name: convnet\nconfig: {channels: 3}").settings)
                .image.channels,
            3);
  EXPECT_EQ(std::get<ResNetSettings>(read("name: resnet").settings).image.height, 32);
}

TEST(ModelConfig, KeysOfAnotherModelAreRefused) {
  EXPECT_THAT(refusal("name: mlp\nconfig: {n_layer: 4}\n"), testing::HasSubstr("n_layer"));
  EXPECT_THAT(refusal("name: gpt3\n"), testing::HasSubstr("gpt3"));
  EXPECT_THAT(refusal("name: gpt2\nconfig: {dropout: 1.0}\n"), testing::HasSubstr("dropout"));
  EXPECT_THAT(refusal("name: gpt2\nconfig: {n_head: 0}\n"), testing::HasSubstr("n_head"));
}

TEST(Registry, EveryModelCanBeMadeFromItsDefaults) {
  EXPECT_THAT(model_names(), testing::ElementsAre("gpt2", "mlp", "convnet", "resnet"));
  for (const auto& name : model_names()) {
    ModelConfig config;
    config.name = name;
    config.settings = default_settings(name);
    const auto model = create_model(config);
    autograd::BuildContext meta;
    meta.device = at::Device(at::kMeta);
    model->build(meta);
    EXPECT_GT(core::elements(model->parameters()), 0) << name;
    EXPECT_TRUE(model->buffers().empty());
  }
  EXPECT_THROW((void)default_settings("gpt3"), Error);
}

}  // namespace
}  // namespace trireme::model

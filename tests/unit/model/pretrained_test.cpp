#include "model/pretrained.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors_writer.h>

#include "model/gpt2.h"
#include "model/mlp.h"

#include <algorithm>
#include <fstream>

#include <ATen/ATen.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::model {
namespace {

namespace fs = std::filesystem;

const Gpt2Settings tiny = {
    .vocab_size = 11, .n_positions = 6, .n_embd = 8, .n_layer = 2, .n_head = 2};

autograd::BuildContext seeded(uint64_t seed, at::ScalarType type = at::kFloat) {
  autograd::BuildContext context;
  context.random = core::RandomKey(seed);
  context.dtype = type;
  return context;
}

// A folder as Hugging Face writes it, with what a test changes.
class Pretrained : public testing::Test {
 protected:
  using Tensors = std::vector<std::pair<std::string, at::Tensor>>;

  Pretrained() : folder_(fs::path(testing::TempDir()) / ("pretrained" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
    source_.build(seeded(1));
    for (const auto& p : source_.parameters()) tensors_.emplace_back(p.name, p.tensor.detach());
    config_ = {{"model_type", "gpt2"},
               {"vocab_size", 11},
               {"n_positions", 6},
               {"n_embd", 8},
               {"n_layer", 2},
               {"n_head", 2},
               {"n_inner", nullptr},
               {"layer_norm_epsilon", 1e-5},
               {"activation_function", "gelu_new"}};
  }
  ~Pretrained() override { fs::remove_all(folder_); }

  void load(Model& model) {
    std::ofstream(folder_ / "config.json") << config_.dump();
    fs::remove(folder_ / "model.safetensors");
    storage::write_safetensors(folder_ / "model.safetensors", tensors_);
    load_pretrained(model, folder_);
  }

  at::Tensor& tensor(const std::string& name) {
    return std::find_if(tensors_.begin(), tensors_.end(), [&](auto& t) { return t.first == name; })
        ->second;
  }
  void erase(const std::string& name) {
    std::erase_if(tensors_, [&](const auto& t) { return t.first == name; });
  }

  void expect_loaded() {
    Gpt2 model(tiny);
    model.build(seeded(2));
    load(model);
    const auto expected = source_.parameters(), got = model.parameters();
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(at::equal(got[i].tensor, expected[i].tensor)) << got[i].name;
      EXPECT_TRUE(got[i].tensor.requires_grad());
    }
  }

  void expect_refused(const std::vector<std::string>& parts,
                      ErrorKind kind = ErrorKind::model_refused) {
    Gpt2 model(tiny), untouched(tiny);
    model.build(seeded(2));
    untouched.build(seeded(2));
    try {
      load(model);
      FAIL() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind);
      EXPECT_THAT(error.message(), testing::HasSubstr(folder_.string()));
      for (const auto& part : parts) EXPECT_THAT(error.message(), testing::HasSubstr(part));
    }
    for (size_t i = 0; i < model.parameters().size(); ++i)
      EXPECT_TRUE(at::equal(model.parameters()[i].tensor, untouched.parameters()[i].tensor));
  }

  fs::path folder_;
  Gpt2 source_{tiny};
  Tensors tensors_;
  nlohmann::json config_;
};

TEST_F(Pretrained, LoadsWithAndWithoutThePrefix) {
  expect_loaded();
  for (auto& [name, values] : tensors_) name.erase(0, std::string("transformer.").size());
  expect_loaded();
}

TEST_F(Pretrained, AcceptsATiedHeadAndTheMasksOfOldFiles) {
  tensors_.emplace_back("lm_head.weight", tensor("transformer.wte.weight").clone());
  tensors_.emplace_back("transformer.h.0.attn.bias", at::ones({1, 1, 6, 6}).to(at::kByte));
  tensors_.emplace_back("h.1.attn.masked_bias", at::full({}, -1e4));
  expect_loaded();
}

TEST_F(Pretrained, ConvertsTypes) {
  for (auto& [name, values] : tensors_) values = values.to(at::kHalf);
  Gpt2 model(tiny);
  model.build(seeded(2, at::kBFloat16));
  load(model);
  EXPECT_EQ(model.parameters()[0].tensor.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(at::equal(model.parameters()[0].tensor,
                        source_.parameters()[0].tensor.to(at::kHalf).to(at::kBFloat16)));
}

TEST_F(Pretrained, RefusesAMissingTensor) {
  erase("transformer.h.1.mlp.c_fc.bias");
  expect_refused({"no tensor transformer.h.1.mlp.c_fc.bias"});
}

TEST_F(Pretrained, RefusesAnExtraTensor) {
  tensors_.emplace_back("transformer.h.2.ln_1.weight", at::ones({8}));
  expect_refused({"transformer.h.2.ln_1.weight"});
}

TEST_F(Pretrained, RefusesAWrongShape) {
  tensor("transformer.wpe.weight") = at::ones({7, 8});
  expect_refused({"transformer.wpe.weight", "[7, 8]", "[6, 8]"});
}

TEST_F(Pretrained, RefusesIntegers) {
  tensor("transformer.ln_f.bias") = at::ones({8}).to(at::kInt);
  expect_refused({"transformer.ln_f.bias", "I32"});
}

TEST_F(Pretrained, RefusesANameGivenTwice) {
  tensors_.emplace_back("wte.weight", at::ones({11, 8}));
  expect_refused({"wte.weight"});
}

TEST_F(Pretrained, RefusesAHeadOfItsOwn) {
  tensors_.emplace_back("lm_head.weight", at::ones({11, 8}));
  expect_refused({"lm_head.weight"});
}

TEST_F(Pretrained, RefusesAConfigurationOfAnotherModel) {
  const nlohmann::json right = config_;
  const std::pair<const char*, nlohmann::json> wrong[] = {
      {"n_layer", 3},          {"n_head", 4},
      {"vocab_size", 12},      {"n_inner", 16},
      {"model_type", "llama"}, {"activation_function", "relu"},
      {"n_embd", "eight"},     {"tie_word_embeddings", false}};
  for (const auto& [key, value] : wrong) {
    config_ = right;
    config_[key] = value;
    expect_refused({"config.json", key, value.dump()});
  }
}

TEST_F(Pretrained, RefusesDamagedFiles) {
  Gpt2 model(tiny);
  model.build(seeded(2));
  load(model);
  fs::resize_file(folder_ / "model.safetensors", 200);
  EXPECT_THROW(load_pretrained(model, folder_), Error);
  std::ofstream(folder_ / "config.json") << "{\"n_layer\": ";
  try {
    load_pretrained(model, folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::model_refused);
  }
}

TEST_F(Pretrained, AbsentFilesAreMissing) {
  Gpt2 model(tiny);
  model.build(seeded(2));
  try {
    load_pretrained(model, folder_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input_missing);
  }
}

TEST_F(Pretrained, IsForGpt2Only) {
  Mlp model(MlpSettings{.inputs = 2, .hidden = {2}});
  model.build(seeded(1));
  try {
    load(model);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::configuration);
  }
}

}  // namespace
}  // namespace trireme::model

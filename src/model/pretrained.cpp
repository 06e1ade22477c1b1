#include "model/pretrained.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "model/gpt2.h"
#include "model/weights.h"

#include <fstream>
#include <iterator>
#include <memory>
#include <string>

#include <ATen/ATen.h>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace trireme::model {

namespace {

using nlohmann::json;
using storage::SafetensorsFile;

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& what,
                         const std::string& hint) {
  throw Error(ErrorKind::model_refused, fmt::format("{}: {}", file.string(), what), hint);
}

json read_json(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in)
    throw Error(ErrorKind::input_missing, fmt::format("{}: cannot be read", file.string()),
                "model.weights names a folder with config.json and model.safetensors");
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object()) refuse(file, "is not a JSON object", "download it again");
  return value;
}

// `fallback` is what Hugging Face assumes where the file has no such key.
void agree(const std::filesystem::path& file, const json& config, const char* key,
           const json& fallback, const json& ours) {
  const auto found = config.find(key);
  const json theirs = found == config.end() || found->is_null() ? fallback : *found;
  if (theirs != ours)
    refuse(file, fmt::format("{} is {}, the model's is {}", key, theirs.dump(), ours.dump()),
           fmt::format("set model.config to what {} says", file.filename().string()));
}

void check_config(const std::filesystem::path& file, const Gpt2Settings& s) {
  const json config = read_json(file);
  agree(file, config, "model_type", "gpt2", "gpt2");
  agree(file, config, "vocab_size", 50257, s.vocab_size);
  agree(file, config, "n_positions", 1024, s.n_positions);
  agree(file, config, "n_embd", 768, s.n_embd);
  agree(file, config, "n_layer", 12, s.n_layer);
  agree(file, config, "n_head", 12, s.n_head);
  agree(file, config, "n_inner", 4 * s.n_embd, s.inner());
  agree(file, config, "layer_norm_epsilon", 1e-5, s.layer_norm_epsilon);
  agree(file, config, "tie_word_embeddings", true, true);
  agree(file, config, "scale_attn_weights", true, true);
  agree(file, config, "scale_attn_by_inverse_layer_idx", false, false);
  if (config.value("activation_function", json("gelu_new")) != "gelu_pytorch_tanh")
    agree(file, config, "activation_function", "gelu_new", "gelu_new");
}

const Gpt2& as_gpt2(const Model& model) {
  const auto* gpt2 = dynamic_cast<const Gpt2*>(&model);
  if (gpt2 == nullptr)
    throw Error(ErrorKind::configuration,
                "model.weights: a Hugging Face folder is for the model gpt2 only",
                "set model.weights to a checkpoint, or to a safetensors file of `trireme convert`");
  return *gpt2;
}

}  // namespace

std::vector<storage::LazyTensor> read_pretrained(const std::filesystem::path& folder) {
  return weights_of(std::make_shared<const SafetensorsFile>(folder / "model.safetensors"));
}

void check_pretrained(const Model& model, const std::filesystem::path& folder) {
  check_config(folder / "config.json", as_gpt2(model).settings());
}

void load_pretrained(Model& model, const std::filesystem::path& folder) {
  check_pretrained(model, folder);
  load_weights(model, read_pretrained(folder), folder / "model.safetensors");
}

json pretrained_config(const Gpt2Settings& s, at::ScalarType dtype) {
  const json n_inner = s.n_inner ? json(*s.n_inner) : json();
  // Hugging Face's default for the two tokens is 50256, which smaller vocabularies do not have.
  constexpr int64_t end_of_text = 50256;
  const json special = s.vocab_size > end_of_text ? json(end_of_text) : json();
  const char* type = dtype == at::kHalf       ? "float16"
                     : dtype == at::kBFloat16 ? "bfloat16"
                                              : "float32";
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"vocab_size", s.vocab_size},
          {"n_positions", s.n_positions},
          {"n_embd", s.n_embd},
          {"n_layer", s.n_layer},
          {"n_head", s.n_head},
          {"n_inner", n_inner},
          {"activation_function", "gelu_new"},
          {"resid_pdrop", s.dropout},
          {"embd_pdrop", s.dropout},
          {"attn_pdrop", s.dropout},
          {"layer_norm_epsilon", s.layer_norm_epsilon},
          {"scale_attn_weights", true},
          {"tie_word_embeddings", true},
          {"bos_token_id", special},
          {"eos_token_id", special},
          {"torch_dtype", type}};
}

}  // namespace trireme::model

#include "model/pretrained.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "model/gpt2.h"

#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

namespace trireme::model {

namespace {

using nlohmann::json;
using storage::SafetensorsEntry;
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

constexpr std::string_view prefix = "transformer.";

std::string_view short_name(std::string_view name) {
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

// The causal mask, a constant that old versions saved with each block.
bool is_saved_mask(std::string_view name) {
  return name.starts_with("h.") &&
         (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

void check_fits(const SafetensorsFile& file, const SafetensorsEntry& entry,
                const core::Parameter& parameter) {
  if (parameter.tensor.sizes() != at::IntArrayRef(entry.shape))
    refuse(file.path(),
           fmt::format("tensor {} is [{}], the model's {} is [{}]", entry.name,
                       fmt::join(entry.shape, ", "), parameter.name,
                       fmt::join(parameter.tensor.sizes(), ", ")),
           "set model.config to the file's shapes");
  if (!at::isFloatingType(entry.dtype))
    refuse(
        file.path(),
        fmt::format("tensor {} is of type {}", entry.name, storage::safetensors_dtype(entry.dtype)),
        "weights are floating-point numbers");
}

// Which entry of the file each parameter takes; refuses what is missing, left over or does not fit.
std::vector<const SafetensorsEntry*> match(const SafetensorsFile& file,
                                           const core::ParameterSet& parameters) {
  std::map<std::string_view, const SafetensorsEntry*> entries;
  for (const SafetensorsEntry& entry : file.entries())
    if (!entries.emplace(short_name(entry.name), &entry).second)
      refuse(file.path(), fmt::format("tensor {} is there with and without its prefix", entry.name),
             "save the model again");

  std::vector<const SafetensorsEntry*> matched;
  for (const core::Parameter& parameter : parameters) {
    const auto found = entries.find(short_name(parameter.name));
    if (found == entries.end())
      refuse(file.path(), fmt::format("there is no tensor {}", parameter.name),
             "use the file of a GPT-2 language model");
    check_fits(file, *found->second, parameter);
    matched.push_back(found->second);
    entries.erase(found);
  }

  if (const auto head = entries.find("lm_head.weight"); head != entries.end()) {
    const SafetensorsEntry& embedding = *matched.front();
    check(short_name(embedding.name) == "wte.weight", "the embedding comes first");
    if (head->second->shape != embedding.shape ||
        !at::equal(file.view(*head->second), file.view(embedding)))
      refuse(file.path(), "tensor lm_head.weight differs from wte.weight",
             "this GPT-2 ties its head to the embedding");
    entries.erase(head);
  }
  std::erase_if(entries, [](const auto& item) { return is_saved_mask(item.first); });
  if (!entries.empty())
    refuse(file.path(),
           fmt::format("tensor {} is none of the model's", entries.begin()->second->name),
           "use the file of a GPT-2 language model");
  return matched;
}

}  // namespace

void load_pretrained(Model& model, const std::filesystem::path& folder) {
  const auto* gpt2 = dynamic_cast<const Gpt2*>(&model);
  if (gpt2 == nullptr)
    throw Error(ErrorKind::configuration, "model.weights is for the model gpt2 only",
                "set model.weights to null, or resume from a checkpoint");
  check_config(folder / "config.json", gpt2->settings());
  const SafetensorsFile file(folder / "model.safetensors");
  const core::ParameterSet parameters = model.parameters();
  const std::vector<const SafetensorsEntry*> entries = match(file, parameters);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters.size(); ++i) parameters[i].tensor.copy_(file.view(*entries[i]));
}

}  // namespace trireme::model

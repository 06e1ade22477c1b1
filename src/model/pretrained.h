#pragma once

#include <trireme/model/model.h>
#include <trireme/storage/lazy_tensor.h>

#include "model/settings.h"

#include <filesystem>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace trireme::model {

// Folders as Hugging Face writes them: config.json and model.safetensors.

/// The tensors of the folder, unchecked but for the format. Error input_missing, model_refused.
[[nodiscard]] std::vector<storage::LazyTensor> read_pretrained(const std::filesystem::path& folder);

/// config.json says what the model is. Error input_missing, or model_refused that names the key.
void check_pretrained(const Model& model, const std::filesystem::path& folder);

/// Loads a folder into a built GPT-2; values are converted to the parameters' dtype, names as in
/// match_weights. Everything is checked before the first parameter changes. Errors: input_missing
/// for an absent file; model_refused, naming the tensor or key, for a file that is damaged, or not
/// of this model; configuration for a model that is no GPT-2.
void load_pretrained(Model& model, const std::filesystem::path& folder);

/// The config.json from which transformers makes the same GPT2LMHeadModel.
[[nodiscard]] nlohmann::json pretrained_config(const Gpt2Settings& settings, at::ScalarType dtype);

}  // namespace trireme::model

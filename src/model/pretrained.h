#pragma once

#include <trireme/model/model.h>

#include <filesystem>

namespace trireme::model {

/// Loads a folder as Hugging Face writes it, config.json and model.safetensors, into a built GPT-2;
/// values are converted to the parameters' dtype. Names may lack the prefix `transformer.`;
/// lm_head.weight may be there if it equals the tied embedding, and so may the constant masks of
/// old files (h.N.attn.bias, h.N.attn.masked_bias). Everything is checked before the first
/// parameter changes. Errors: input_missing for an absent file; model_refused, naming the tensor or
/// key, for a file that is damaged, or not of this model; configuration for a model that is no
/// GPT-2.
void load_pretrained(Model& model, const std::filesystem::path& folder);

}  // namespace trireme::model

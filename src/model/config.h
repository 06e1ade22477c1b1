#pragma once

#include "model/settings.h"

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace trireme::model {

/// Names of the built-in models, and the settings that one has by default.
[[nodiscard]] const std::vector<std::string>& model_names();
[[nodiscard]] Settings default_settings(const std::string& name);

/// The section `model`. `settings` always belongs to `name`.
struct ModelConfig {
  std::string name = "gpt2";
  std::optional<std::string> weights;
  Settings settings = Gpt2Settings{};

  template <class B>
  void bind(B& b) {
    b.key("name", name).doc("which of the built-in models").one_of(model_names()).identity();
    b.key("weights", weights)
        .doc(
            "what to start from: a checkpoint or run folder, a safetensors file of `trireme "
            "convert`, or a folder with a Hugging Face GPT-2 (config.json, model.safetensors)");
    const Settings defaults = default_settings(name);
    if (defaults.index() != settings.index()) settings = defaults;
    std::visit([&](auto& chosen) { b.section("config", chosen); }, settings);
  }
};

}  // namespace trireme::model

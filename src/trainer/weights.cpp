#include "trainer/weights.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/config/load.h>
#include <trireme/core/log.h>
#include <trireme/storage/safetensors.h>

#include "model/pretrained.h"
#include "model/weights.h"

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

namespace fs = std::filesystem;

FoundWeights of_checkpoint(const fs::path& path, std::optional<checkpoint::WeightKind> kind) {
  std::vector<std::string> skipped;
  FoundWeights found;
  found.origin = FoundWeights::Origin::checkpoint;
  found.path = checkpoint::locate(path, &skipped);
  for (const std::string& one : skipped) log::warning("checkpoint skipped: {}", one);
  const auto reader = std::make_shared<const checkpoint::Reader>(found.path);
  found.manifest = reader->manifest();
  try {
    found.tensors = checkpoint::weights_of(reader, kind.value_or(checkpoint::best_kind(reader->manifest())));
  } catch (const Error& e) {
    throw Error(e.kind(), fmt::format("{}: {}", found.path.native(), e.message()), e.hint());
  }
  return found;
}

/// The section `model` alone.
struct ModelSection {
  model::ModelConfig model;
  template <class B>
  void bind(B& b) {
    b.section("model", model);
  }
};

/// {"model.config.n_embd": 8, ...} to {"model": {"config": {"n_embd": 8, ...}}}, without what is of other sections.
nlohmann::json nested_model(const nlohmann::json& identity) {
  nlohmann::json nested = nlohmann::json::object();
  for (const auto& [path, value] : identity.items()) {
    if (!path.starts_with("model.")) continue;
    std::string pointer = "/" + path;
    for (char& c : pointer)
      if (c == '.') c = '/';
    nested[nlohmann::json::json_pointer(pointer)] = value;
  }
  return nested;
}

}  // namespace

FoundWeights find_weights(const fs::path& path, std::optional<checkpoint::WeightKind> kind) {
  std::error_code error;
  if (!fs::exists(path, error))
    throw Error(ErrorKind::input_missing, path.native() + ": No such file or directory",
                "name a checkpoint, a run folder, a safetensors file, or a Hugging Face folder");
  const bool folder = fs::is_directory(path, error);
  const bool hugging_face = folder && (fs::exists(path / "config.json", error) || fs::exists(path / "model.safetensors", error));
  if (folder && !hugging_face) return of_checkpoint(path, kind);
  if (kind.value_or(checkpoint::WeightKind::model) != checkpoint::WeightKind::model)
    throw Error(ErrorKind::usage,
                fmt::format("{}: only a checkpoint has {} weights besides its model's", path.native(), checkpoint::name_of(*kind)),
                "leave --weights out");
  FoundWeights found;
  found.origin = folder ? FoundWeights::Origin::hugging_face : FoundWeights::Origin::file;
  found.path = path;
  found.tensors = folder ? model::read_pretrained(path) : model::weights_of(std::make_shared<const storage::SafetensorsFile>(path));
  return found;
}

InitialWeights::InitialWeights(const model::ModelConfig& config, const fs::path& path) {
  const FoundWeights found = find_weights(path);
  const std::unique_ptr<model::Model> shapes = model::shapes_of(config);
  if (found.origin == FoundWeights::Origin::hugging_face) model::check_pretrained(*shapes, path);
  for (storage::LazyTensor& one : model::match_weights(*shapes, found.tensors, found.path)) {
    std::string name = one.name;
    weights_.emplace(std::move(name), std::move(one));
  }
}

void InitialWeights::copy_into(const core::ParameterSet& built) const {
  const at::NoGradGuard no_grad;
  for (const core::Parameter& one : built) one.tensor.copy_(weights_.at(one.name).values());
}

model::ModelConfig model_of(const checkpoint::Manifest& manifest, const fs::path& checkpoint) {
  const nlohmann::json identity = nlohmann::json::parse(manifest.extras.value("identity", ""), nullptr, /*allow_exceptions=*/false);
  if (!identity.is_object() || !identity.contains("model.name"))
    throw Error(ErrorKind::model_refused, checkpoint.native() + ": the checkpoint does not say of what model it is",
                "name the run's configuration: --config run.yaml");
  return config::load_text<ModelSection>(nested_model(identity).dump(), (checkpoint / checkpoint::manifest_name).native()).value.model;
}

}  // namespace trireme::trainer

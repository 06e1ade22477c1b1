#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <trireme/checkpoint/manifest.h>
#include <trireme/model/model.h>
#include <trireme/storage/lazy_tensor.h>

#include "checkpoint/weights.h"
#include "model/config.h"

namespace trireme::trainer {

/// Weights as they were found, with what is known of where they come from.
struct FoundWeights {
  enum class Origin { checkpoint, file, hugging_face };
  Origin origin = Origin::file;
  std::filesystem::path path;  ///< of the checkpoint, the file or the folder
  std::vector<storage::LazyTensor> tensors;
  std::optional<checkpoint::Manifest> manifest;  ///< of a checkpoint
};

/// `path` is a checkpoint, a run folder or a folder of checkpoints (the newest valid one), a safetensors file, or a folder as
/// Hugging Face writes it. `kind` is for checkpoints; nothing: the best there is. Errors: input_missing, no_checkpoint,
/// data_damaged, model_refused; usage for a kind of weights that only checkpoints have.
[[nodiscard]] FoundWeights find_weights(const std::filesystem::path& path, std::optional<checkpoint::WeightKind> kind = {});

/// What model.weights names, for a model that is built unit by unit.
class InitialWeights {
 public:
  /// Finds them and checks all names and shapes against the model of this configuration. Nothing is read yet.
  InitialWeights(const model::ModelConfig& config, const std::filesystem::path& path);
  /// Into built parameters and buffers of the model, or some of them.
  void copy_into(const core::ParameterSet& built) const;

 private:
  std::map<std::string, storage::LazyTensor> weights_;  // by the model's names
};

/// The model that a checkpoint says it is of. Error model_refused if it does not say.
[[nodiscard]] model::ModelConfig model_of(const checkpoint::Manifest& manifest, const std::filesystem::path& checkpoint);

}  // namespace trireme::trainer

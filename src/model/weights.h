#pragma once

#include <trireme/model/model.h>
#include <trireme/storage/lazy_tensor.h>

#include "model/config.h"

#include <filesystem>
#include <memory>
#include <vector>

namespace trireme::model {

/// The parameters and buffers of a configuration's model on the device `meta`: names and shapes
/// without memory.
[[nodiscard]] std::unique_ptr<Model> shapes_of(const ModelConfig& config);

/// The weights of a model in the order of its parameters, then its buffers, each by the model's
/// name for it. `source` names where they come from in errors. For GPT-2 the given names may lack
/// the prefix `transformer.`; lm_head.weight may be there if it equals the tied embedding, and so
/// may the constant masks of old files (h.N.attn.bias, h.N.attn.masked_bias). Error model_refused
/// that lists everything missing, left over, given twice, of another shape, or not of a
/// floating-point type.
[[nodiscard]] std::vector<storage::LazyTensor> match_weights(
    Model& model, const std::vector<storage::LazyTensor>& weights,
    const std::filesystem::path& source);

/// Matches, then copies one tensor after the other into a built model, converted to the dtype
/// there. All names and shapes are checked before the first parameter changes.
void load_weights(Model& model, const std::vector<storage::LazyTensor>& weights,
                  const std::filesystem::path& source);

/// The tensors of a file, in place.
[[nodiscard]] std::vector<storage::LazyTensor> weights_of(
    const std::shared_ptr<const storage::SafetensorsFile>& file);

}  // namespace trireme::model

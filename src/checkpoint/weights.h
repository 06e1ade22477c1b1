#pragma once

#include <trireme/checkpoint/reader.h>
#include <trireme/storage/lazy_tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::checkpoint {

/// Which of a checkpoint's versions of the parameters: as the model computes with them, the float32
/// masters behind low-precision ones, or their exponential moving average.
enum class WeightKind { model, master, ema };

[[nodiscard]] std::string_view name_of(WeightKind kind);
[[nodiscard]] std::optional<WeightKind> weight_kind_of(std::string_view name);

struct ChosenWeight {
  std::string name;    ///< the model's own: of the parameter or buffer
  std::string stored;  ///< in the checkpoint
  bool operator==(const ChosenWeight&) const = default;
};

/// The tensors that make up a model, buffers included. A float32 parameter is its own master; a
/// parameter that has no average (it is frozen) stands for itself, by its master where there is
/// one. Error model_refused, listing them, if parameters have no master, or the checkpoint no
/// averages at all.
[[nodiscard]] std::vector<ChosenWeight> choose_weights(const Manifest& manifest, WeightKind kind);

/// The best the checkpoint has to start from: masters where they exist.
[[nodiscard]] WeightKind best_kind(const Manifest& manifest);

/// The chosen weights by their own names, each read when it is needed.
[[nodiscard]] std::vector<storage::LazyTensor> weights_of(
    const std::shared_ptr<const Reader>& reader, WeightKind kind);

}  // namespace trireme::checkpoint

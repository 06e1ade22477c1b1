#include "checkpoint/weights.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include <algorithm>
#include <array>
#include <utility>

#include <ATen/ops/empty.h>

#include <fmt/format.h>

namespace trireme::checkpoint {
namespace {

constexpr std::array kinds{std::pair{WeightKind::model, std::string_view("model")},
                           std::pair{WeightKind::master, std::string_view("master")},
                           std::pair{WeightKind::ema, std::string_view("ema")}};
constexpr std::string_view model_prefix = "model/";
constexpr std::string_view buffer_prefix = "buffer/";

bool any_with_prefix(const Manifest& manifest, const std::string& prefix) {
  const auto first = manifest.tensors.lower_bound(prefix);
  return first != manifest.tensors.end() && first->first.starts_with(prefix);
}

}  // namespace

std::string_view name_of(WeightKind kind) {
  return std::find_if(kinds.begin(), kinds.end(), [&](const auto& k) { return k.first == kind; })
      ->second;
}

std::optional<WeightKind> weight_kind_of(std::string_view name) {
  for (const auto& [kind, known] : kinds)
    if (known == name) return kind;
  return {};
}

WeightKind best_kind(const Manifest& manifest) {
  return any_with_prefix(manifest, "master/") ? WeightKind::master : WeightKind::model;
}

std::vector<ChosenWeight> choose_weights(const Manifest& manifest, WeightKind kind) {
  if (kind == WeightKind::ema && !any_with_prefix(manifest, "ema/"))
    throw Error(ErrorKind::model_refused, "the checkpoint holds no moving averages (ema/...)",
                "use --weights model or --weights master");
  std::vector<ChosenWeight> chosen;
  std::vector<std::string> without_master;
  for (const auto& [stored, tensor] : manifest.tensors) {
    if (stored.starts_with(buffer_prefix))
      chosen.push_back({stored.substr(buffer_prefix.size()), stored});
    if (!stored.starts_with(model_prefix)) continue;
    const std::string name = stored.substr(model_prefix.size());
    const std::string master = "master/" + name, average = "ema/" + name;
    if (kind == WeightKind::ema && manifest.tensors.contains(average)) {
      chosen.push_back({name, average});
    } else if (kind != WeightKind::model && manifest.tensors.contains(master)) {
      chosen.push_back({name, master});
    } else {
      if (kind == WeightKind::master && tensor.dtype != at::ScalarType::Float)
        without_master.push_back(
            fmt::format("{} ({})", name, storage::safetensors_dtype(tensor.dtype)));
      chosen.push_back({name, stored});
    }
  }
  if (!without_master.empty())
    throw Error(ErrorKind::model_refused,
                fmt::format("the checkpoint holds no float32 masters of {}",
                            fmt::join(without_master, ", ")),
                "use --weights model");
  std::sort(chosen.begin(), chosen.end(),
            [](const ChosenWeight& a, const ChosenWeight& b) { return a.name < b.name; });
  return chosen;
}

std::vector<storage::LazyTensor> weights_of(const std::shared_ptr<const Reader>& reader,
                                            WeightKind kind) {
  std::vector<storage::LazyTensor> weights;
  for (const auto& [name, stored] : choose_weights(reader->manifest(), kind)) {
    const at::ScalarType dtype = reader->dtype(stored);
    const std::vector<int64_t> shape = reader->shape(stored);
    weights.push_back({{name, dtype, shape}, [reader, stored = stored, dtype, shape] {
                         at::Tensor values = at::empty(shape, at::TensorOptions(dtype));
                         reader->read_whole(stored, values);
                         return values;
                       }});
  }
  return weights;
}

}  // namespace trireme::checkpoint

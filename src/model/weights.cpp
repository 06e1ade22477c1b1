#include "model/weights.h"

#include <trireme/core/error.h>
#include <trireme/storage/safetensors.h>

#include "model/gpt2.h"
#include "model/registry.h"

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/ATen.h>

#include <fmt/core.h>
#include <fmt/ranges.h>

namespace trireme::model {

namespace {

using storage::LazyTensor;

constexpr std::string_view gpt2_prefix = "transformer.";

std::string_view without_prefix(std::string_view name) {
  return name.starts_with(gpt2_prefix) ? name.substr(gpt2_prefix.size()) : name;
}

// The causal mask, a constant that old versions saved with each block.
bool is_saved_mask(std::string_view name) {
  return name.starts_with("h.") &&
         (name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias"));
}

// Takes the weights one after the other and notes all that does not fit.
class Matching {
 public:
  Matching(const std::vector<LazyTensor>& weights, bool gpt2) : gpt2_(gpt2) {
    for (const LazyTensor& weight : weights)
      if (!left_.emplace(key(weight.name), &weight).second)
        problem("tensor {} is there with and without its prefix", weight.name);
  }

  void take(const core::Parameter& wanted) {
    const auto found = left_.find(key(wanted.name));
    if (found == left_.end()) return problem("there is no tensor {}", wanted.name);
    const LazyTensor& weight = *found->second;
    left_.erase(found);
    if (wanted.tensor.sizes() != at::IntArrayRef(weight.shape))
      problem("tensor {} is [{}], the model's {} is [{}]", weight.name,
              fmt::join(weight.shape, ", "), wanted.name, fmt::join(wanted.tensor.sizes(), ", "));
    else if (!at::isFloatingType(weight.dtype))
      problem("tensor {} is of type {}", weight.name, storage::safetensors_dtype(weight.dtype));
    taken_.push_back(weight);
    taken_.back().name = wanted.name;
  }

  // What a file of GPT-2 may hold besides.
  void take_ties_and_masks(const core::Parameter& embedding) {
    std::erase_if(left_, [](const auto& item) { return is_saved_mask(item.first); });
    const auto head = left_.find("lm_head.weight");
    if (head == left_.end() || taken_.empty() || taken_.front().name != embedding.name) return;
    if (head->second->shape != taken_.front().shape ||
        !at::equal(head->second->values(), taken_.front().values()))
      problem("tensor lm_head.weight differs from {}: this GPT-2 ties its head to the embedding",
              embedding.name);
    left_.erase(head);
  }

  std::vector<LazyTensor> result(const std::filesystem::path& source) {
    for (const auto& [name, weight] : left_)
      problem("tensor {} is none of the model's", weight->name);
    if (!problems_.empty())
      throw Error(ErrorKind::model_refused,
                  fmt::format("{}: the weights do not fit the model:\n  {}", source.native(),
                              fmt::join(problems_, "\n  ")),
                  "set model.name and model.config to the model that the weights are of");
    return std::move(taken_);
  }

 private:
  std::string_view key(std::string_view name) const { return gpt2_ ? without_prefix(name) : name; }

  template <class... A>
  void problem(fmt::format_string<A...> text, A&&... values) {
    problems_.push_back(fmt::format(text, std::forward<A>(values)...));
  }

  bool gpt2_;
  std::map<std::string_view, const LazyTensor*> left_;
  std::vector<LazyTensor> taken_;
  std::vector<std::string> problems_;
};

core::ParameterSet wanted_by(Model& model) {
  core::ParameterSet wanted = model.parameters();
  for (core::Parameter& buffer : model.buffers()) wanted.push_back(std::move(buffer));
  return wanted;
}

}  // namespace

std::unique_ptr<Model> shapes_of(const ModelConfig& config) {
  std::unique_ptr<Model> model = create_model(config);
  model->build({.device = at::Device(at::kMeta)});
  return model;
}

std::vector<LazyTensor> match_weights(Model& model, const std::vector<LazyTensor>& weights,
                                      const std::filesystem::path& source) {
  const bool gpt2 = dynamic_cast<const Gpt2*>(&model) != nullptr;
  const core::ParameterSet wanted = wanted_by(model);
  Matching matching(weights, gpt2);
  for (const core::Parameter& one : wanted) matching.take(one);
  if (gpt2) matching.take_ties_and_masks(wanted.front());
  return matching.result(source);
}

void load_weights(Model& model, const std::vector<LazyTensor>& weights,
                  const std::filesystem::path& source) {
  const std::vector<LazyTensor> matched = match_weights(model, weights, source);
  const core::ParameterSet wanted = wanted_by(model);
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < wanted.size(); ++i) wanted[i].tensor.copy_(matched[i].values());
}

std::vector<LazyTensor> weights_of(const std::shared_ptr<const storage::SafetensorsFile>& file) {
  std::vector<LazyTensor> weights;
  for (const storage::SafetensorsEntry& entry : file->entries())
    weights.push_back({{entry.name, entry.dtype, entry.shape}, [file, &entry] {
                         return file->values(entry);
                       }});
  return weights;
}

}  // namespace trireme::model

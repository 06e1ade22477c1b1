#include "model/mlp.h"

#include <trireme/core/error.h>
#include <trireme/ops/dropout.h>

#include "model/classification.h"
#include "model/layers.h"

#include <string>

#include <ATen/ATen.h>

#include <fmt/core.h>

namespace trireme::model {

Mlp::Mlp(const MlpSettings& settings) : settings_(settings) {
  int64_t width = settings.inputs;
  std::vector<int64_t> widths = settings.hidden;
  widths.push_back(settings.classes);
  for (const int64_t next : widths) {
    layers_.push_back(linear_unit(fmt::format("layers.{}", layers_.size()), width, next));
    width = next;
  }
}

std::vector<autograd::Unit*> Mlp::units() {
  std::vector<autograd::Unit*> all;
  for (autograd::Unit& layer : layers_) all.push_back(&layer);
  return all;
}

LossSums Mlp::loss(const core::Batch& batch) {
  const at::ScalarType type = layers_[0].block().parameters()[0].tensor.scalar_type();
  at::Tensor x = real_field(batch, batch.has("features") ? "features" : "image", type);
  const int64_t inputs = at::multiply_integers(x.sizes().slice(1));
  if (inputs != settings_.inputs)
    throw Error(ErrorKind::configuration,
                fmt::format("a sample of the batch has {} values, model.config.inputs is {}",
                            inputs, settings_.inputs),
                fmt::format("set model.config.inputs to {}", inputs));
  x = x.reshape({x.size(0), inputs});
  const bool dropping = settings_.dropout > 0.0 && layers_[0].block().training();
  const at::Tensor keys_B = dropping ? ops::sample_keys(batch) : at::Tensor();
  for (autograd::Unit& layer : layers_) {
    x = layer(x);
    if (&layer == &layers_.back()) break;
    x = settings_.activation == "gelu" ? at::gelu(x) : at::relu(x);
    if (dropping) x = ops::dropout(x, settings_.dropout, keys_B, layer.name());
  }
  return classification_loss(x, batch);
}

double Mlp::flops_per_sample(int64_t) const {
  double products = 0;
  int64_t width = settings_.inputs;
  for (const int64_t next : settings_.hidden) {
    products += static_cast<double>(width * next);
    width = next;
  }
  return 6 * (products + static_cast<double>(width * settings_.classes));
}

void Mlp::check_batch(const core::Batch& batch) const {
  check_targets(batch.at("label"), {}, settings_.classes);
}

void Mlp::check_data(const std::vector<std::pair<std::string, int64_t>>& properties) const {
  const DataCheck data("mlp", properties);
  data.equals("features", "model.config.inputs", settings_.inputs);
  if (data.get("features", 0) == 0 && data.get("channels", 0) > 0) {
    const int64_t pixels = data.get("channels", 1) * data.get("height", 1) * data.get("width", 1);
    DataCheck("mlp", {{"pixels", pixels}})
        .equals("pixels", "model.config.inputs", settings_.inputs);
  }
  data.at_most("classes", "model.config.classes", settings_.classes);
}

}  // namespace trireme::model

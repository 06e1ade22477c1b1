#include "trainer/build.h"

#include <variant>

#include "model/registry.h"
#include "trainer/weights.h"

#include <trireme/data/open.h>
#include <trireme/optim/groups.h>
#include <trireme/parallel/bucket_plan.h>
#include <trireme/parallel/replicas.h>

namespace trireme::trainer {

std::optional<int64_t> sequence_length(const RunConfig& config) {
  if (config.data.sequence_length) return config.data.sequence_length;
  if (const auto* gpt2 = std::get_if<model::Gpt2Settings>(&config.model.settings)) return gpt2->n_positions;
  return std::nullopt;
}

DataParts open_data(const RunConfig& config) {
  DataParts parts;
  parts.train = data::open_dataset(config.data.train, sequence_length(config));
  if (!config.data.eval.empty()) parts.eval = data::open_dataset(config.data.eval, sequence_length(config));
  return parts;
}

core::RandomKey initial_random(const RunConfig& config) {
  return core::RandomKey(static_cast<uint64_t>(config.run.seed)).fold("model");
}

std::unique_ptr<model::Model> build_model(const RunConfig& config, const precision::Precision& precision,
                                          const data::Dataset& data, at::Device device, Weights weights) {
  std::unique_ptr<model::Model> model = model::create_model(config.model);
  model->check_data(data.properties());
  model->build({.device = device,
                .dtype = precision.parameters,
                .random = initial_random(config)});
  if (config.model.weights && weights == Weights::as_configured) load_weights(*model, *config.model.weights);
  return model;
}

Parts build_parts(const RunConfig& config, comm::CommunicatorPtr all, const data::Dataset& data, at::Device device, Weights weights) {
  Parts parts;
  parts.device = device;
  parts.precision = precision::resolve(config.precision, device.type());
  parts.model = build_model(config, parts.precision, data, device, weights);
  parts.parameters = parts.model->parameters();
  parts.buffers = parts.model->buffers();
  if (parts.model->tokens_per_sample() > 0) parts.tokens_per_sample = sequence_length(config).value_or(0);
  parts.trainable = optim::freeze(config.optim, parts.parameters);
  parallel::broadcast_parameters(*all, parts.parameters, parts.buffers);
  parts.reducer = std::make_unique<parallel::GradientReducer>(
      all, parts.trainable,
      parallel::bucket_sizes(config.parallel, core::elements(parts.trainable) * static_cast<int64_t>(sizeof(float))),
      parts.precision.reduce);
  parts.optimizer = optim::make_optimizer(config.optim, parts.parameters);
  parts.scaler = std::make_unique<precision::LossScaler>(parts.precision, device);
  if (config.ema.decay) parts.average = std::make_unique<optim::WeightAverage>(config.ema, parts.parameters, *parts.optimizer);
  return parts;
}

}  // namespace trireme::trainer

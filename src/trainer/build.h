#pragma once

#include <memory>

#include <trireme/comm/communicator.h>
#include <trireme/core/random.h>
#include <trireme/data/dataset.h>
#include <trireme/model/model.h>
#include <trireme/optim/optimizer.h>
#include <trireme/optim/weight_average.h>
#include <trireme/parallel/gradient_reducer.h>
#include <trireme/precision/loss_scaler.h>
#include <trireme/precision/precision.h>
#include <trireme/precision/scope.h>

#include "trainer/run_config.h"

namespace trireme::trainer {

/// The data of a run. Every rank opens the same files.
struct DataParts {
  std::shared_ptr<const data::Dataset> train;
  std::shared_ptr<const data::Dataset> eval;  ///< null without data.eval
};

/// What one rank trains with. Members are destroyed in reverse order: those that refer to others come later.
struct Parts {
  at::Device device = at::Device(at::kCPU);
  precision::Precision precision;
  std::unique_ptr<model::Model> model;
  core::ParameterSet parameters;  ///< all of the model's
  core::ParameterSet trainable;   ///< without the frozen ones
  core::ParameterSet buffers;
  int64_t tokens_per_sample = 0;  ///< 0 for models without tokens
  std::unique_ptr<parallel::GradientReducer> reducer;
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<precision::LossScaler> scaler;
  std::unique_ptr<optim::WeightAverage> average;  ///< null without ema.decay
};

/// Where the initial values come from: a checkpoint that is read next needs no pretrained weights.
enum class Weights { as_configured, from_checkpoint };

/// Length of one sample in tokens: data.sequence_length, or the model's context; nothing for models without tokens.
[[nodiscard]] std::optional<int64_t> sequence_length(const RunConfig& config);

[[nodiscard]] DataParts open_data(const RunConfig& config);
/// The key from which a model's first values are drawn.
[[nodiscard]] core::RandomKey initial_random(const RunConfig& config);
/// The model alone, with its pretrained weights if the configuration names some, checked against the data.
[[nodiscard]] std::unique_ptr<model::Model> build_model(const RunConfig& config, const precision::Precision& precision,
                                                        const data::Dataset& data, at::Device device, Weights weights);
/// Model, optimizer and gradient reduction; all ranks call together and leave with equal parameters.
[[nodiscard]] Parts build_parts(const RunConfig& config, comm::CommunicatorPtr all, const data::Dataset& data, at::Device device,
                                Weights weights);

}  // namespace trireme::trainer

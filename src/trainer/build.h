#pragma once

#include <memory>

#include <trireme/autograd/activation_storage.h>
#include <trireme/comm/world.h>
#include <trireme/core/random.h>
#include <trireme/data/dataset.h>
#include <trireme/model/model.h>
#include <trireme/optim/optimizer.h>
#include <trireme/optim/weight_average.h>
#include <trireme/parallel/data_parallel.h>
#include <trireme/parallel/shard_plan.h>
#include <trireme/precision/loss_scaler.h>
#include <trireme/precision/precision.h>
#include <trireme/precision/scope.h>
#include <trireme/telemetry/recorder.h>

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
  comm::CommunicatorPtr ranks;  ///< all ranks, for tensors on the device
  precision::Precision precision;
  std::unique_ptr<autograd::ActivationStorage> activations;  ///< null: kept as they are
  std::unique_ptr<model::Model> model;
  core::ParameterSet buffers;
  int64_t tokens_per_sample = 0;  ///< 0 for models without tokens
  std::unique_ptr<parallel::DataParallel> data_parallel;
  core::ParameterSet parameters;  ///< what this rank steps and saves of the model's, frozen ones too: whole, or fragments
  std::unique_ptr<optim::Optimizer> optimizer;
  std::unique_ptr<precision::LossScaler> scaler;
  std::unique_ptr<optim::WeightAverage> average;  ///< null without ema.decay
};

/// Where the initial values come from: a checkpoint that is read next needs no pretrained weights.
enum class Weights { as_configured, from_checkpoint };

/// Length of one sample in tokens: data.sequence_length, or the model's context; nothing for models without tokens.
[[nodiscard]] std::optional<int64_t> sequence_length(const RunConfig& config);

[[nodiscard]] DataParts open_data(const RunConfig& config);
/// Which ranks share what parallel.strategy cuts. Error configuration for groups that do not fit the world.
[[nodiscard]] parallel::ShardGroups shard_groups_of(const RunConfig& config, comm::World& world);
/// The precision of a run on this device.
[[nodiscard]] precision::Precision resolve_precision(const RunConfig& config, at::Device device);
/// The key from which a model's first values are drawn.
[[nodiscard]] core::RandomKey initial_random(const RunConfig& config);
/// Model, optimizer and gradient reduction; all ranks call together and leave with equal parameters. Units are built, filled and
/// cut one after the other.
[[nodiscard]] Parts build_parts(const RunConfig& config, comm::World& world, const data::Dataset& data, at::Device device,
                                Weights weights, telemetry::Recorder& recorder);

}  // namespace trireme::trainer

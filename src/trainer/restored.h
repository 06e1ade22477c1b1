#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <trireme/config/load.h>
#include <trireme/model/model.h>

#include "trainer/build.h"

namespace trireme::trainer {

/// A model for evaluation and prediction, most often as a checkpoint holds it.
struct RestoredModel {
  config::Loaded<RunConfig> configuration;  ///< of the run, with the overrides
  std::filesystem::path checkpoint;  ///< empty if the model is a configuration's
  int64_t step = 0;
  precision::Precision precision;
  at::Device device = at::Device(at::kCPU);
  std::unique_ptr<model::Model> model;  ///< in evaluation mode
};

/// `path` is a run folder or a checkpoint of one, or a configuration file: then the model is that of step 0, with
/// model.weights. `which`, for a run folder: latest, or a step. Errors: no_checkpoint, data_damaged, configuration,
/// model_refused. Opens the back end of the configuration's device, and computes on the device of the local rank.
[[nodiscard]] RestoredModel restore_model(const std::filesystem::path& path, const std::string& which,
                                          const std::vector<std::string>& overrides, int local_rank);

}  // namespace trireme::trainer

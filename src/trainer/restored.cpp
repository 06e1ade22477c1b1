#include "trainer/restored.h"

#include <charconv>

#include <fmt/format.h>

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/log.h>
#include <trireme/device/select.h>
#include <trireme/report/run_paths.h>

#include "model/registry.h"
#include "trainer/run_state.h"
#include "trainer/weights.h"

namespace trireme::trainer {
namespace {

std::filesystem::path choose_checkpoint(const std::filesystem::path& path, const std::string& which) {
  if (which != "latest") {
    int64_t step = 0;
    const auto [end, error] = std::from_chars(which.data(), which.data() + which.size(), step);
    if (error != std::errc() || end != which.data() + which.size())
      throw Error(ErrorKind::usage, fmt::format("'{}' is no checkpoint", which), "say latest, or the number of a step");
    return checkpoint::Store(report::RunPaths{path}.checkpoints()).path_of(step);
  }
  std::vector<std::string> skipped;
  std::filesystem::path found = checkpoint::locate(path, &skipped);
  for (const std::string& one : skipped) log::warning("checkpoint skipped: {}", one);
  return found;
}

/// run.dir/config.yaml, seen from the run folder or from one of its checkpoints.
std::filesystem::path configuration_of(const std::filesystem::path& checkpoint) {
  return report::RunPaths{std::filesystem::absolute(checkpoint).parent_path().parent_path()}.config();
}

/// The model of a configuration before its first step.
RestoredModel configured_model(const std::filesystem::path& file, const std::vector<std::string>& overrides, int local_rank) {
  RestoredModel made;
  made.configuration = config::load<RunConfig>(file.string(), overrides);
  const RunConfig& config = made.configuration.value;
  device::open_back_end(config.device);
  made.device = device::select(config.device, local_rank);
  made.precision = resolve_precision(config, made.device);
  made.model = model::create_model(config.model);
  made.model->build({.device = made.device, .dtype = made.precision.parameters, .random = initial_random(config), .fp8 = made.precision.fp8});
  if (config.model.weights) {
    const InitialWeights weights(config.model, *config.model.weights);
    weights.copy_into(made.model->parameters());
    weights.copy_into(made.model->buffers());
  }
  made.model->set_training(false);
  return made;
}

}  // namespace

RestoredModel restore_model(const std::filesystem::path& path, const std::string& which,
                            const std::vector<std::string>& overrides, int local_rank) {
  if (std::error_code error; std::filesystem::is_regular_file(path, error)) return configured_model(path, overrides, local_rank);
  RestoredModel restored;
  restored.checkpoint = choose_checkpoint(path, which);
  const checkpoint::Reader reader(restored.checkpoint);
  restored.configuration = config::load<RunConfig>(configuration_of(restored.checkpoint).string(), overrides);
  const RunConfig& config = restored.configuration.value;
  device::open_back_end(config.device);
  restored.device = device::select(config.device, local_rank);
  restored.precision = resolve_precision(config, restored.device);
  restored.step = reader.integer("run/step");
  restored.model = model::create_model(config.model);
  restored.model->build({.device = restored.device, .dtype = restored.precision.parameters, .fp8 = restored.precision.fp8});
  load_model_state(reader, restored.model->parameters(), restored.model->buffers());
  restored.model->set_training(false);
  return restored;
}

}  // namespace trireme::trainer

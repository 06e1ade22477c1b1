#include <CLI/CLI.hpp>

#include <memory>

#include "app/commands.h"
#include "app/outcome.h"
#include "trainer/trainer.h"

#include <trireme/core/fault.h>
#include <trireme/core/log.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
};

int train(const Arguments& arguments) {
  const auto loaded = config::load<trainer::RunConfig>(arguments.config, arguments.overrides);
  const std::unique_ptr<comm::World> world = comm::join_world();
  log::configure({.rank = world->rank()});
  core::fault::set_rank(world->rank());
  trainer::RunStatus status;
  return run_in_world(
      *world, [&] { return trainer::run_training(loaded, *world, status); },
      [&]() -> ExitFile {
        return {.run_dir = status.folder_is_ours ? loaded.value.run.dir : "", .step = status.step};
      });
}

}  // namespace

void add_train(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("train", "Trains as a configuration says; goes on where the run folder's checkpoints end");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("config", arguments->config, "YAML file")->required();
  command->add_option("overrides", arguments->overrides, "key.path=value, e.g. optim.lr=1e-3 train.steps=500");
  command->footer(
      "\nExamples:\n"
      "  trireme train configs/quickstart.yaml                          one rank\n"
      "  mpirun -np 4 trireme train configs/quickstart.yaml run.dir=runs/four\n"
      "  touch runs/four/control/stop                                   saves and ends with code 75; the same command goes on\n"
      "The keys: trireme config explain [KEY]");
  command->callback([&action, arguments] { action = [arguments] { return train(*arguments); }; });
}

}  // namespace trireme::app

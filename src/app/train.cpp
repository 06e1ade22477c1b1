#include <CLI/CLI.hpp>

#include <memory>

#include "app/commands.h"
#include "app/outcome.h"
#include "trainer/trainer.h"

#include <trireme/core/fault.h>
#include <trireme/core/log.h>
#include <trireme/device/select.h>
#include <trireme/report/exit_record.h>
#include <trireme/report/run_paths.h>
#include <trireme/storage/durable.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::string config;
  std::vector<std::string> overrides;
};

/// What a configuration that is refused says of run.dir, for the record of the refusal; empty if it says nothing usable.
std::filesystem::path stated_run_dir(const Arguments& arguments) {
  try {
    config::Document document = config::Document::load(arguments.config);
    document.apply(arguments.overrides);
    const config::Member* run = document.root().find("run");
    const config::Member* dir = run == nullptr ? nullptr : run->value.find("dir");
    return dir == nullptr ? "" : dir->value.text;
  } catch (const Error&) {
    return {};
  }
}

/// Scripts read exit.json first, also when nothing was started. Under a launcher one rank writes it, and never into a folder
/// that a job holds.
void record_refusal(const Arguments& arguments, const Error& error) {
  const report::RunPaths paths{stated_run_dir(arguments)};
  std::error_code unreadable;
  if (paths.root.empty() || launched_rank() != 0 || std::filesystem::exists(paths.lock(), unreadable) || unreadable) return;
  try {
    storage::make_directories(paths.root);
    report::write_exit_record(paths.root, comm::Failure{.kind = error.kind(), .rank = 0, .message = error.message(), .hint = error.hint()});
  } catch (const Error& e) {
    log::warning("exit.json could not be written: {}", e.message());
  }
}

config::Loaded<trainer::RunConfig> load(const Arguments& arguments) {
  try {
    return config::load<trainer::RunConfig>(arguments.config, arguments.overrides);
  } catch (const Error& e) {
    record_refusal(arguments, e);
    throw;
  }
}

int train(const Arguments& arguments) {
  const auto loaded = load(arguments);
  device::open_back_end(loaded.value.device);
  const guard::StopSignals signals;
  const std::unique_ptr<comm::World> world = comm::join_world();
  log::configure({.rank = world->rank()});
  core::fault::set_rank(world->rank());
  trainer::RunStatus status;
  return run_in_world(
      *world, [&] { return trainer::run_training(loaded, *world, signals, status); },
      [&]() -> ExitFile {
        return {.run_dir = status.folder_is_ours ? loaded.value.run.dir : "", .step = status.step, .lock = std::move(status.lock)};
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

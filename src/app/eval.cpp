#include <CLI/CLI.hpp>

#include <memory>

#include <fmt/format.h>

#include "app/commands.h"
#include "app/outcome.h"
#include "trainer/evaluation.h"
#include "trainer/restored.h"

#include <trireme/core/log.h>
#include <trireme/device/tune.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::string path;
  std::string checkpoint = "latest";
  std::vector<std::string> overrides;
};

int evaluate(const Arguments& arguments, comm::World& world) {
  const comm::RankInfo& mine = world.ranks()[static_cast<size_t>(world.rank())];
  device::tune_process(device::choose_threads(device::threads_of_shared_mask(mine.local_size), std::getenv("OMP_NUM_THREADS")));
  const trainer::RestoredModel restored =
      trainer::restore_model(arguments.path, arguments.checkpoint, arguments.overrides, mine.local_rank);
  const trainer::RunConfig& config = restored.configuration.value;
  const trainer::DataParts data = trainer::open_data(config);
  if (!data.eval)
    throw Error(ErrorKind::configuration, "the run has no evaluation data", "name some: trireme eval RUN data.eval=FILE.h5");
  restored.model->check_data(data.eval->properties());
  trainer::Evaluation evaluation(data.eval, data::TransformChain(config.data.transforms, /*training=*/false),
                                 {.batch_size = config.eval.batch_size.value_or(config.train.batch_size),
                                  .workers = config.data.workers},
                                 *world.all());
  const report::EvalMetrics result =
      evaluation.run(*restored.model, restored.precision, restored.device, restored.step);
  if (world.rank() == 0) fmt::print("{}\n", report::eval_line(result, 0));
  return 0;
}

}  // namespace

void add_eval(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("eval", "Evaluates a checkpoint on every sample of the evaluation data exactly once");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->path, "run folder, checkpoint, or a configuration with model.weights")->required();
  command->add_option("overrides", arguments->overrides, "key.path=value, e.g. data.eval=other.h5");
  command->add_option("--checkpoint", arguments->checkpoint, "latest, or a step");
  command->footer("\nPrints one JSON object. Examples:\n  trireme eval runs/quickstart\n  mpirun -np 4 trireme eval runs/quickstart --checkpoint 500");
  command->callback([&action, arguments] {
    action = [arguments] {
      const std::unique_ptr<comm::World> world = comm::join_world();
      log::configure({.rank = world->rank()});
      return run_in_world(*world, [&] { return evaluate(*arguments, *world); }, [] { return ExitFile{}; });
    };
  });
}

}  // namespace trireme::app

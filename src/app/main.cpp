#include "app/commands.h"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  using namespace trireme;
  CLI::App cli("Trireme trains LibTorch models on many processes: mpirun -np 4 trireme train config.yaml", "trireme");
  cli.set_version_flag("--version", TRIREME_VERSION);
  cli.require_subcommand(1);
  cli.footer("\nExit codes: 0 done, 2 usage, 10 configuration, 11 ranks differ, 12 environment, 20 input missing, 21 data damaged,\n"
             "23 no usable checkpoint, 24 model file refused, 30 storage, 40 hang, 41 peer lost, 50 diverged, 51 out of memory, 75 stopped.");
  app::Action action;
  app::add_train(cli, action);
  app::add_eval(cli, action);
  app::add_predict(cli, action);
  app::add_prepare(cli, action);
  app::add_inspect(cli, action);
  app::add_convert(cli, action);
  app::add_debug(cli, action);
  app::add_top(cli, action);
  app::add_config(cli, action);
  app::add_doctor(cli, action);
  app::add_report(cli, action);
  return app::run_chosen(cli, action, argc, argv);
}

// `trireme train`, as the application has it, of a model that goes wrong where TRIREME_FAULT says:
// see classifier.h.
#include "app/commands.h"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  using namespace trireme;
  CLI::App cli("Trains a model that goes wrong", "provoked");
  cli.require_subcommand(1);
  app::Action action;
  app::add_train(cli, action);
  return app::run_chosen(cli, action, argc, argv);
}

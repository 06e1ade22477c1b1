// `trireme train`, as the application has it, of a model that goes wrong where TRIREME_FAULT says:
// see classifier.h.
#include <trireme/core/error.h>

#include "app/commands.h"
#include "app/outcome.h"

#include <CLI/CLI.hpp>

int main(int argc, char** argv) {
  using namespace trireme;
  CLI::App cli("Trains a model that goes wrong", "provoked");
  cli.require_subcommand(1);
  app::Action action;
  app::add_train(cli, action);
  try {
    cli.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return cli.exit(e) == 0 ? 0 : static_cast<int>(ErrorKind::usage);
  }
  try {
    return action();
  } catch (...) {
    const Error error = app::error_in_flight();
    app::print_before_world(error);
    return static_cast<int>(error.kind());
  }
}

#include "app/commands.h"

#include "app/outcome.h"

#include <CLI/CLI.hpp>

#include <trireme/core/error.h>

namespace trireme::app {

int run_chosen(CLI::App& app, const Action& action, int argc, char** argv) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : static_cast<int>(ErrorKind::usage);
  }
  try {
    return action();
  } catch (...) {
    const Error error = error_in_flight();
    print_before_world(error);
    return static_cast<int>(error.kind());
  }
}

}  // namespace trireme::app

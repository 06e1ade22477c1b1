#pragma once

#include <functional>

namespace CLI {
class App;
}

namespace trireme::app {

/// What the chosen sub-command does; returns the exit code or throws an Error.
using Action = std::function<int()>;

/// Reads the command line and runs what it chose; the exit code. An Error that no world has told of is printed.
[[nodiscard]] int run_chosen(CLI::App& app, const Action& action, int argc, char** argv);

// Each declares one sub-command of `trireme`; if it is chosen on the command line it sets `action`.
void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_predict(CLI::App& app, Action& action);
void add_prepare(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_convert(CLI::App& app, Action& action);
void add_debug(CLI::App& app, Action& action);
void add_top(CLI::App& app, Action& action);
void add_config(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);

}  // namespace trireme::app

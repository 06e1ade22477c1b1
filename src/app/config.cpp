#include <CLI/CLI.hpp>

#include <cstdio>

#include <memory>

#include "app/commands.h"
#include "trainer/run_config.h"

#include <trireme/config/load.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::string file;
  std::vector<std::string> overrides;
  std::string key;
};

void print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (text.empty() || text.back() != '\n') std::fputc('\n', stdout);
}

}  // namespace

void add_config(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("config", "Shows and explains configurations");
  command->require_subcommand(1);
  command->footer(
      "\nExamples:\n"
      "  trireme config show configs/quickstart.yaml optim.lr=1e-3   resolved values, each with its origin\n"
      "  trireme config explain train.global_batch                   type, default, unit and meaning\n"
      "  trireme config schema > trireme.schema.json                 for editors");
  auto arguments = std::make_shared<Arguments>();

  CLI::App* show = command->add_subcommand("show", "Prints the resolved configuration with the origin of every value");
  show->add_option("config", arguments->file, "YAML file")->required();
  show->add_option("overrides", arguments->overrides, "key.path=value");
  show->callback([&action, arguments] {
    action = [arguments] {
      print(to_yaml(config::load<trainer::RunConfig>(arguments->file, arguments->overrides).resolved, true));
      return 0;
    };
  });

  CLI::App* explain = command->add_subcommand("explain", "Says what a key or a section means");
  explain->add_option("key", arguments->key, "key path, e.g. optim.lr; nothing: all sections");
  explain->callback([&action, arguments] {
    action = [arguments] {
      print(config::explain(config::describe<trainer::RunConfig>(), arguments->key));
      return 0;
    };
  });

  CLI::App* schema = command->add_subcommand("schema", "Prints the JSON Schema of the configuration");
  schema->callback([&action] {
    action = [] {
      print(config::json_schema(config::describe<trainer::RunConfig>()));
      return 0;
    };
  });
}

}  // namespace trireme::app

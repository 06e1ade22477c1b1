#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/inspect.h"

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/error.h>
#include <trireme/core/log.h>
#include <trireme/data/open.h>
#include <trireme/report/run_paths.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Arguments {
  std::string path;
  bool verify = false;
  bool state_hash = false;
  bool norms = false;
  bool json = false;
  std::string other;
};

int inspect_checkpoint(const fs::path& path, const Arguments& arguments) {
  if (arguments.state_hash) {
    const std::string hash = checkpoint::state_hash(checkpoint::Reader(path)).hex();
    fmt::print("{}\n", arguments.json ? json{{"path", path.native()}, {"state_hash", hash}}.dump() : hash);
  } else if (arguments.verify) {
    verify_checkpoint(path, arguments.json);
  } else {
    print_checkpoint(path, {.norms = arguments.norms, .json = arguments.json});
  }
  return 0;
}

/// The one that counts in a folder; warns of those that are skipped.
fs::path newest_checkpoint(const fs::path& folder) {
  std::vector<std::string> skipped;
  const fs::path found = checkpoint::locate(folder, &skipped);
  for (const std::string& one : skipped) log::warning("checkpoint skipped: {}", one);
  return found;
}

int inspect_data(const Arguments& arguments) {
  const data::FileSummary summary = arguments.verify ? data::verify_file(arguments.path) : data::inspect_file(arguments.path);
  if (arguments.json) {
    json datasets = json::array();
    for (const auto& entry : summary.datasets) {
      json attributes = json::object();
      for (const auto& [name, value] : entry.attributes) attributes[name] = value;
      datasets.push_back({{"name", entry.name},
                          {"type", entry.type},
                          {"shape", entry.shape},
                          {"mapped", entry.mapped},
                          {"checksums", entry.checksums},
                          {"attributes", attributes}});
    }
    fmt::print("{}\n", json{{"schema", 1},
                            {"kind", "data"},
                            {"path", summary.path},
                            {"bytes", summary.bytes},
                            {"fingerprint", summary.fingerprint},
                            {"datasets", datasets},
                            {"blocks_verified", arguments.verify ? json(summary.blocks_verified) : json()}}
                           .dump());
    return 0;
  }
  fmt::print("data file {}  {} bytes  fingerprint {}\n", summary.path, summary.bytes, summary.fingerprint);
  for (const auto& entry : summary.datasets) {
    fmt::print("dataset {}  {} {}  {}{}\n", entry.name, entry.type, shape_text(entry.shape),
               entry.mapped ? "read by memory map" : "read through the library", entry.checksums ? "" : ", no checksums");
    for (const auto& [name, value] : entry.attributes) fmt::print("  {} = {}\n", name, value);
  }
  if (arguments.verify) fmt::print("valid, {} blocks verified\n", summary.blocks_verified);
  return 0;
}

std::string last_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line, last;
  while (std::getline(in, line)) last = line;
  return last;
}

/// An object in a file of JSON lines or JSON; null if there is none.
json object_in(const std::string& text) {
  json value = json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_object() ? value : json();
}

int inspect_run(const fs::path& path, const Arguments& arguments) {
  const report::RunPaths paths{path};
  const json metrics = object_in(last_line(paths.metrics())), evaluation = object_in(last_line(paths.eval()));
  std::ostringstream exit_text;
  exit_text << std::ifstream(paths.exit()).rdbuf();
  const json exit = object_in(exit_text.str());
  const std::vector<int64_t> steps = checkpoint::Store(paths.checkpoints()).steps();
  std::error_code error;
  const bool locked = fs::exists(paths.lock(), error);
  fs::path newest;
  try {
    if (!steps.empty()) newest = newest_checkpoint(path);
  } catch (const Error& e) {
    log::warning("{}", e.message());  // the rest of the run is still to be seen
  }
  const CheckpointView view{.norms = arguments.norms, .json = arguments.json};
  if (arguments.json) {
    fmt::print("{}\n", json{{"schema", 1},
                            {"kind", "run"},
                            {"path", path.native()},
                            {"last_record", metrics},
                            {"last_evaluation", evaluation},
                            {"checkpoints", steps},
                            {"locked", locked},
                            {"exit", exit},
                            {"checkpoint", newest.empty() ? json() : checkpoint_json(newest, view)}}
                           .dump());
    return 0;
  }
  fmt::print("run {}\n", path.string());
  if (!metrics.is_null())
    fmt::print("last record: step {}, loss {}, attempt {}\n", metrics.value("step", json()).dump(), metrics.value("loss", json()).dump(),
               metrics.value("attempt", json()).dump());
  if (!evaluation.is_null()) fmt::print("last evaluation: {}\n", evaluation.dump());
  for (const int64_t step : steps) fmt::print("checkpoint of step {}\n", step);
  if (locked) fmt::print("locked: a job owns the folder ({})\n", paths.lock().string());
  if (!exit.is_null()) fmt::print("exit: {}\n", exit.dump());
  if (newest.empty()) return 0;
  fmt::print("\n");
  print_checkpoint(newest, view);
  return 0;
}

int inspect(const Arguments& arguments) {
  const fs::path path = arguments.path;
  if (!fs::exists(path)) throw Error(ErrorKind::input_missing, path.string() + ": No such file or directory");
  if (!arguments.other.empty()) return inspect_difference(path, arguments.other, arguments.json);
  if (!fs::is_directory(path)) return inspect_data(arguments);
  if (fs::exists(path / checkpoint::manifest_name)) return inspect_checkpoint(path, arguments);
  if (arguments.verify || arguments.state_hash) return inspect_checkpoint(newest_checkpoint(path), arguments);
  return inspect_run(path, arguments);
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("inspect", "Shows what a run folder, a checkpoint or a data file holds");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->path, "run folder, checkpoint or data file")->required();
  command->add_flag("--norms", arguments->norms, "of every tensor: L2 norm, smallest and largest value, values not finite");
  command->add_flag("--json", arguments->json, "print one JSON object");
  CLI::Option* verify = command->add_flag("--verify", arguments->verify, "read everything and check every hash");
  CLI::Option* hash =
      command->add_flag("--state-hash", arguments->state_hash, "one hash of a checkpoint's logical state, whatever wrote it");
  CLI::Option* diff =
      command->add_option("--diff", arguments->other, "another checkpoint or run folder: what differs in state, type, shape or value");
  verify->excludes(hash)->excludes(diff);
  hash->excludes(diff);
  command->footer(
      "\nOf a run folder the newest valid checkpoint is taken. Exit code of --diff: 0 if the two are equal, 1 if they differ.\n"
      "Examples:\n  trireme inspect runs/quickstart\n  trireme inspect runs/quickstart/checkpoints/step-00000500 --norms\n"
      "  trireme inspect runs/quickstart --verify\n  trireme inspect runs/quickstart --diff runs/four\n"
      "  trireme inspect data/kjv.train.h5 --verify");
  command->callback([&action, arguments] { action = [arguments] { return inspect(*arguments); }; });
}

}  // namespace trireme::app

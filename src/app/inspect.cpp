#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/commands.h"

#include <trireme/checkpoint/reader.h>
#include <trireme/checkpoint/store.h>
#include <trireme/core/error.h>
#include <trireme/data/open.h>
#include <trireme/report/run_paths.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string path;
  bool verify = false;
  bool state_hash = false;
};

std::string shape_text(const std::vector<int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

struct ScalarText {
  std::string operator()(bool v) const { return v ? "true" : "false"; }
  std::string operator()(int64_t v) const { return std::to_string(v); }
  std::string operator()(double v) const { return fmt::format("{}", v); }
  std::string operator()(const std::string& v) const { return v; }
};

int inspect_checkpoint(const fs::path& path, const Arguments& arguments) {
  const checkpoint::Reader reader(path);
  if (arguments.state_hash) {
    fmt::print("{}\n", checkpoint::state_hash(reader).hex());
    return 0;
  }
  const checkpoint::Manifest& manifest = reader.manifest();
  if (arguments.verify) {
    reader.verify();
    fmt::print("{}: valid, {} files, every byte verified\n", path.string(), manifest.files.size());
    return 0;
  }
  fmt::print("checkpoint {}\nstep {}, written by {} rank{}, trireme {}, libtorch {}\n", path.string(), manifest.step,
             manifest.world_size, manifest.world_size == 1 ? "" : "s", manifest.extras.value("trireme", "?"),
             manifest.extras.value("libtorch", "?"));
  for (const auto& file : manifest.files) fmt::print("file {}  {} bytes  xxh3 {}\n", file.name, file.bytes, file.hash.hex());
  for (const auto& [name, value] : manifest.scalars) fmt::print("scalar {} = {}\n", name, std::visit(ScalarText{}, value));
  for (const auto& [name, tensor] : manifest.tensors)
    fmt::print("tensor {}  {} {}  {} part{}\n", name, c10::toString(tensor.dtype), shape_text(tensor.shape), tensor.boxes.size(),
               tensor.boxes.size() == 1 ? "" : "s");
  return 0;
}

int inspect_data(const std::string& path, bool verify) {
  const data::FileSummary summary = verify ? data::verify_file(path) : data::inspect_file(path);
  fmt::print("data file {}  {} bytes  fingerprint {}\n", summary.path, summary.bytes, summary.fingerprint);
  for (const auto& entry : summary.datasets) {
    fmt::print("dataset {}  {} {}  {}{}\n", entry.name, entry.type, shape_text(entry.shape),
               entry.mapped ? "read by memory map" : "read through the library", entry.checksums ? "" : ", no checksums");
    for (const auto& [name, value] : entry.attributes) fmt::print("  {} = {}\n", name, value);
  }
  if (verify) fmt::print("valid, {} blocks verified\n", summary.blocks_verified);
  return 0;
}

std::string last_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line, last;
  while (std::getline(in, line)) last = line;
  return last;
}

int inspect_run(const fs::path& path) {
  const report::RunPaths paths{path};
  fmt::print("run {}\n", path.string());
  if (const std::string metrics = last_line(paths.metrics()); !metrics.empty()) {
    const nlohmann::json record = nlohmann::json::parse(metrics, nullptr, /*allow_exceptions=*/false);
    if (record.is_object()) fmt::print("last record: step {}, loss {}, attempt {}\n", record["step"].dump(), record["loss"].dump(), record["attempt"].dump());
  }
  if (const std::string evaluation = last_line(paths.eval()); !evaluation.empty()) fmt::print("last evaluation: {}\n", evaluation);
  for (const int64_t step : checkpoint::Store(paths.checkpoints()).steps()) fmt::print("checkpoint of step {}\n", step);
  if (fs::exists(paths.lock())) fmt::print("locked: a job owns the folder ({})\n", paths.lock().string());
  if (fs::exists(paths.exit())) {
    std::ostringstream text;
    text << std::ifstream(paths.exit()).rdbuf();
    fmt::print("exit: {}\n", nlohmann::json::parse(text.str()).dump());
  }
  return 0;
}

int inspect(const Arguments& arguments) {
  const fs::path path = arguments.path;
  if (!fs::exists(path)) throw Error(ErrorKind::input_missing, path.string() + ": No such file or directory");
  if (!fs::is_directory(path)) return inspect_data(arguments.path, arguments.verify);
  if (fs::exists(path / checkpoint::manifest_name)) return inspect_checkpoint(path, arguments);
  if (arguments.verify || arguments.state_hash) return inspect_checkpoint(checkpoint::locate(path), arguments);
  return inspect_run(path);
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("inspect", "Shows what a run folder, a checkpoint or a data file holds");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->path, "run folder, checkpoint or data file")->required();
  command->add_flag("--verify", arguments->verify, "read everything and check every hash");
  command->add_flag("--state-hash", arguments->state_hash, "one hash of a checkpoint's logical state, whatever wrote it");
  command->footer(
      "\nExamples:\n  trireme inspect runs/quickstart\n  trireme inspect runs/quickstart/checkpoints/step-00000500 --verify\n"
      "  trireme inspect data/kjv.train.h5 --verify");
  command->callback([&action, arguments] { action = [arguments] { return inspect(*arguments); }; });
}

}  // namespace trireme::app

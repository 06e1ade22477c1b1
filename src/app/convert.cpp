#include <CLI/CLI.hpp>

#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/headeronly/version.h>

#include "app/commands.h"
#include "app/new_output.h"
#include "checkpoint/weights_writer.h"
#include "model/conversion.h"
#include "model/pretrained.h"
#include "model/weights.h"
#include "trainer/run_config.h"
#include "trainer/weights.h"

#include <trireme/config/load.h>
#include <trireme/core/error.h>
#include <trireme/report/run_paths.h>
#include <trireme/storage/durable.h>
#include <trireme/storage/safetensors_writer.h>

namespace trireme::app {
namespace {

namespace fs = std::filesystem;
using storage::LazyTensor;
using trainer::FoundWeights;
using RunConfiguration = std::optional<config::Loaded<trainer::RunConfig>>;

struct Arguments {
  std::string source;
  std::string output;
  std::string format;
  std::string weights;
  std::string dtype;
  std::string config;
  bool force = false;
};

[[noreturn]] void misused(const std::string& what, const std::string& hint) { throw Error(ErrorKind::usage, what, hint); }

/// Named, or what the output's name suggests.
std::string format_of(const Arguments& arguments) {
  const bool file = fs::path(arguments.output).extension() == ".safetensors";
  const std::string format = !arguments.format.empty() ? arguments.format : file ? "safetensors" : "hf";
  if ((format == "safetensors") != file)
    misused(fmt::format("'{}' is no output of --format {}", arguments.output, format),
            format == "safetensors" ? "name a file: -o FILE.safetensors" : "name a folder: -o FOLDER/");
  if (format == "checkpoint" && arguments.config.empty())
    misused("--format checkpoint needs the configuration of the run that it is for", "add --config run.yaml");
  return format;
}

FoundWeights find(const Arguments& arguments) {
  std::optional<checkpoint::WeightKind> kind = checkpoint::WeightKind::model;
  if (!arguments.weights.empty()) kind = checkpoint::weight_kind_of(arguments.weights);
  return trainer::find_weights(arguments.source, kind);
}

/// Of the configuration that was named, else as the checkpoint says.
model::ModelConfig model_of(const FoundWeights& found, const RunConfiguration& configuration) {
  if (configuration) return configuration->value.model;
  if (found.manifest) return trainer::model_of(*found.manifest, found.path);
  misused(found.path.native() + " does not say of what model it is", "add --config run.yaml");
}

/// What the output says of its origin, beside what the format asks for.
std::map<std::string, std::string> metadata_of(const FoundWeights& found, const Arguments& arguments) {
  std::map<std::string, std::string> metadata = {{"trireme.version", TRIREME_VERSION}};
  if (!found.manifest) return metadata;
  metadata["trireme.step"] = std::to_string(found.manifest->step);
  metadata["trireme.weights"] = arguments.weights.empty() ? "model" : arguments.weights;
  return metadata;
}

/// One tensor in memory at a time.
void write_file(const fs::path& path, const std::vector<LazyTensor>& tensors, const std::map<std::string, std::string>& metadata) {
  std::unordered_map<std::string_view, const LazyTensor*> by_name;
  for (const LazyTensor& one : tensors) by_name.emplace(one.name, &one);
  storage::SafetensorsWriter file(path, {tensors.begin(), tensors.end()}, metadata);
  for (const storage::SafetensorsEntry& entry : file.entries()) file.write(by_name.at(entry.name)->values());
  file.finish();
}

void write_hugging_face(const fs::path& folder, const model::ModelConfig& config, const std::vector<LazyTensor>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  const auto& settings = std::get<model::Gpt2Settings>(config.settings);
  storage::replace_file(folder / "config.json", model::pretrained_config(settings, tensors.front().dtype).dump(2) + "\n");
  write_file(folder / "model.safetensors", tensors, metadata);
}

/// A folder that `eval` and `predict` take for a run's.
void write_checkpoint(const fs::path& folder, const config::Loaded<trainer::RunConfig>& configuration, model::Model& shapes,
                      std::vector<LazyTensor> tensors) {
  const size_t parameters = shapes.parameters().size();
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].name = (i < parameters ? "model/" : "buffer/") + tensors[i].name;
  const report::RunPaths paths{folder};
  storage::make_directories(paths.checkpoints());
  storage::replace_file(paths.config(), config::to_yaml(configuration.resolved));
  checkpoint::write_weights(paths.checkpoints() / "step-00000000", tensors, {{"run/step", int64_t{0}}},
                            {{"contents", "weights"},
                             {"identity", config::identity_json(configuration.resolved)},
                             {"configuration", config::full_json(configuration.resolved)},
                             {"trireme", TRIREME_VERSION},
                             {"libtorch", TORCH_VERSION}});
  storage::sync_directory(paths.checkpoints());
}

void print_done(const Arguments& arguments, const FoundWeights& found, const std::vector<LazyTensor>& tensors) {
  int64_t bytes = 0;
  for (const LazyTensor& one : tensors) {
    int64_t elements = 1;
    for (const int64_t size : one.shape) elements *= size;
    bytes += elements * static_cast<int64_t>(c10::elementSize(one.dtype));
  }
  fmt::print("{}: {} tensors, {:.1f} MB, from {}\n", arguments.output, tensors.size(), static_cast<double>(bytes) / 1e6,
             found.path.native());
}

int convert(const Arguments& arguments) {
  const std::string format = format_of(arguments);
  RunConfiguration configuration;
  if (!arguments.config.empty()) configuration = config::load<trainer::RunConfig>(arguments.config);
  const FoundWeights found = find(arguments);
  std::vector<LazyTensor> tensors = found.tensors;

  std::unique_ptr<model::Model> shapes;
  std::optional<model::ModelConfig> model;
  if (format != "safetensors" || configuration) {
    model = model_of(found, configuration);
    if (format == "hf" && model->name != "gpt2")
      throw Error(ErrorKind::model_refused, fmt::format("{}: the model {} has no Hugging Face form", found.path.native(), model->name),
                  "--format hf is for gpt2; every model converts to one file: -o FILE.safetensors");
    shapes = model::shapes_of(*model);
    if (found.origin == FoundWeights::Origin::hugging_face) model::check_pretrained(*shapes, found.path);
    tensors = model::match_weights(*shapes, tensors, found.path);
  }
  // A run on CPUs computes in float32; one on GPUs converts as it starts.
  const std::string dtype = arguments.dtype.empty() && format == "checkpoint" ? "fp32" : arguments.dtype;
  if (!dtype.empty()) tensors = model::converted(std::move(tensors), *model::weight_dtype(dtype));

  const std::vector<std::string> own_names =
      format == "hf" ? std::vector<std::string>{"config.json", "model.safetensors"}
                     : std::vector<std::string>{"config.yaml", "checkpoints"};
  NewOutput output(arguments.output, format == "safetensors" ? NewOutput::Kind::file : NewOutput::Kind::folder, arguments.force,
                   own_names);
  if (format == "safetensors") write_file(output.temporary(), tensors, metadata_of(found, arguments));
  if (format == "hf") write_hugging_face(output.temporary(), *model, tensors, metadata_of(found, arguments));
  if (format == "checkpoint") write_checkpoint(output.temporary(), *configuration, *shapes, tensors);
  output.commit();
  print_done(arguments, found, tensors);
  return 0;
}

}  // namespace

void add_convert(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("convert", "Converts weights between checkpoints, safetensors files and Hugging Face folders");
  auto a = std::make_shared<Arguments>();
  command->add_option("source", a->source, "checkpoint, run folder, safetensors file, or Hugging Face folder")->required();
  command->add_option("-o,--output", a->output, "what to make: FILE.safetensors or FOLDER/")->required();
  command->add_option("--format", a->format, "default: safetensors for a file, hf for a folder")
      ->check(CLI::IsMember({"safetensors", "hf", "checkpoint"}));
  command->add_option("--weights", a->weights, "of a checkpoint: model (default), the float32 master, or ema, the moving average")
      ->check(CLI::IsMember({"model", "master", "ema"}));
  command->add_option("--dtype", a->dtype, "fp32, bf16 or fp16; default: as stored, fp32 for --format checkpoint")
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}));
  command->add_option("--config", a->config, "configuration of the run that the weights are for; their names and shapes are checked");
  command->add_flag("--force", a->force, "replace the output if it exists");
  command->footer(
      "\nA file holds the parameters and buffers by their own names. hf is for gpt2: config.json and model.safetensors, for\n"
      "transformers' GPT2LMHeadModel. checkpoint makes a folder with config.yaml and checkpoints/step-00000000, which holds weights\n"
      "alone. To train from any of them set model.weights to its path; eval and predict take the folder of a checkpoint as a run.\n"
      "Examples:\n"
      "  trireme convert runs/quickstart -o gpt.safetensors --dtype bf16\n"
      "  trireme convert runs/quickstart/checkpoints/step-00000500 -o gpt-hf/ --weights master\n"
      "  trireme convert gpt-hf -o start/ --format checkpoint --config configs/quickstart.yaml");
  command->callback([&action, a] { action = [a] { return convert(*a); }; });
}

}  // namespace trireme::app

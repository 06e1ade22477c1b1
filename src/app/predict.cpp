#include <CLI/CLI.hpp>

#include <cstdio>

#include <memory>

#include <ATen/ops/from_blob.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "infer/generate.h"
#include "trainer/restored.h"

#include <trireme/device/tune.h>

namespace trireme::app {
namespace {

struct Arguments {
  std::string path;
  std::string checkpoint = "latest";
  std::string prompt;
  bool logits = false;
  std::vector<std::string> overrides;
  infer::Sampling sampling;
};

/// The scores of the token that follows the prompt, for comparisons with other programs.
void print_logits(model::LanguageModel& language_model, std::vector<int64_t>& prompt, c10::Device device) {
  if (prompt.empty()) throw Error(ErrorKind::usage, "--logits needs a prompt that is not empty");
  const at::Tensor tokens_1T = at::from_blob(prompt.data(), {1, static_cast<int64_t>(prompt.size())}, at::kLong);
  const at::Tensor logits_V = language_model.next_logits(tokens_1T.to(device)).cpu().contiguous().view(-1);
  const float* values = logits_V.const_data_ptr<float>();
  fmt::print("{}\n", nlohmann::json{{"logits", std::vector<float>(values, values + logits_V.numel())}}.dump());
}

int predict(const Arguments& arguments) {
  device::tune_process(device::choose_threads(device::threads_of_shared_mask(1), std::getenv("OMP_NUM_THREADS")));
  const trainer::RestoredModel restored = trainer::restore_model(arguments.path, arguments.checkpoint, arguments.overrides, /*local_rank=*/0);
  auto* language_model = dynamic_cast<model::LanguageModel*>(restored.model.get());
  if (language_model == nullptr)
    throw Error(ErrorKind::configuration, "the model '" + restored.configuration.value.model.name + "' does not continue text",
                "predict works for language models such as gpt2");
  if (language_model->vocabulary() != 256)
    throw Error(ErrorKind::configuration, "predict reads and writes bytes, but the model has another vocabulary than 256",
                "train on data of 'trireme prepare text'");
  std::vector<int64_t> prompt;
  for (const char c : arguments.prompt) prompt.push_back(static_cast<unsigned char>(c));
  if (arguments.logits) {
    print_logits(*language_model, prompt, restored.device);
    return 0;
  }
  std::fputs(arguments.prompt.c_str(), stdout);
  infer::generate([&](const at::Tensor& tokens) { return language_model->next_logits(tokens.to(restored.device)); }, std::move(prompt),
                  language_model->context_length(), arguments.sampling, [](int64_t token) {
                    std::fputc(static_cast<int>(token), stdout);
                    std::fflush(stdout);
                  });
  std::fputc('\n', stdout);
  return 0;
}

}  // namespace

void add_predict(CLI::App& app, Action& action) {
  CLI::App* command = app.add_subcommand("predict", "Continues a text with a trained language model");
  auto arguments = std::make_shared<Arguments>();
  command->add_option("path", arguments->path, "run folder, checkpoint, or a configuration with model.weights")->required();
  command->add_option("overrides", arguments->overrides, "key.path=value, e.g. device.type=cpu");
  command->add_option("--checkpoint", arguments->checkpoint, "latest, or a step");
  command->add_option("--prompt", arguments->prompt, "text to continue")->required();
  command->add_option("--max-tokens", arguments->sampling.max_tokens, "how much to write")->check(CLI::NonNegativeNumber);
  command->add_option("--temperature", arguments->sampling.temperature, "0: always the likeliest token")->check(CLI::NonNegativeNumber);
  command->add_option("--top-k", arguments->sampling.top_k, "choose among the k likeliest; 0: all")->check(CLI::NonNegativeNumber);
  command->add_option("--seed", arguments->sampling.seed, "the same seed gives the same text");
  command->add_flag("--logits", arguments->logits, "print the scores of the next token as JSON instead of text");
  command->footer("\nExample:\n  trireme predict runs/quickstart --prompt 'In the beginning' --max-tokens 200 --temperature 0.7");
  command->callback([&action, arguments] { action = [arguments] { return predict(*arguments); }; });
}

}  // namespace trireme::app

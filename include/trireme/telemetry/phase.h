#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trireme::telemetry {

/// What a step's time goes to. Phases exclude each other and add up to the step; `other` is what no
/// scope covers. comm_exposed is communication that the step waits for; what overlaps with compute
/// shows in the busy time only. `graph` is the work of a step that a device repeats as a whole:
/// forward, backward, communication and optimizer in one.
enum class Phase : uint8_t {
  data,
  forward,
  backward,
  comm_exposed,
  optimizer,
  graph,
  checkpoint,
  other
};
constexpr size_t phase_count = 8;
constexpr std::array<std::string_view, phase_count> phase_names{
    "data", "forward", "backward", "comm_exposed", "optimizer", "graph", "checkpoint", "other"};

/// What a span is about; traces and reports group by it.
enum class Category : uint8_t {
  model_compilation,
  text_preprocessing,
  model_inference,
  training_loop,
  data_loading,
  mixed_precision,
  forward_pass,
  backward_pass,
  model_benchmarking,
  model_loading,
  tokenization,
  fine_tuning,
  pipeline_operations,
  model_memory,
  tokenizer_memory,
  batch_processing,
  gradient_memory,
  device_mapping,
  quantization,
  communication,
  optimizer_step,
  checkpointing,
  user,
};
constexpr size_t category_count = 23;
constexpr std::array<std::string_view, category_count> category_names{"model_compilation",
                                                                      "text_preprocessing",
                                                                      "model_inference",
                                                                      "training_loop",
                                                                      "data_loading",
                                                                      "mixed_precision",
                                                                      "forward_pass",
                                                                      "backward_pass",
                                                                      "model_benchmarking",
                                                                      "model_loading",
                                                                      "tokenization",
                                                                      "fine_tuning",
                                                                      "pipeline_operations",
                                                                      "model_memory",
                                                                      "tokenizer_memory",
                                                                      "batch_processing",
                                                                      "gradient_memory",
                                                                      "device_mapping",
                                                                      "quantization",
                                                                      "communication",
                                                                      "optimizer_step",
                                                                      "checkpointing",
                                                                      "user"};
static_assert(static_cast<size_t>(Category::user) + 1 == category_count);
static_assert(static_cast<size_t>(Phase::other) + 1 == phase_count);

[[nodiscard]] constexpr std::string_view name_of(Phase phase) {
  return phase_names[static_cast<size_t>(phase)];
}
[[nodiscard]] constexpr std::string_view name_of(Category category) {
  return category_names[static_cast<size_t>(category)];
}
/// The category under which a phase appears in a trace.
[[nodiscard]] constexpr Category category_of(Phase phase) {
  constexpr std::array<Category, phase_count> categories{
      Category::data_loading,   Category::forward_pass,  Category::backward_pass,
      Category::communication,  Category::optimizer_step, Category::training_loop,
      Category::checkpointing, Category::training_loop};
  return categories[static_cast<size_t>(phase)];
}

}  // namespace trireme::telemetry

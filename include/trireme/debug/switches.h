#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace trireme::debug {

/// What can be switched on and off while a run goes on.
enum class Switch : uint8_t {
  autograd_anomaly,
  autograd_profiler,
  tensorboard_profiler,
  memory_usage,
  gradient_norms,
  forward_pass,
  backward_pass,
  device_placement,
  mixed_precision,
  data_loading,
  validation,
  early_stopping,
  lr_scheduling,
};
constexpr std::array<std::string_view, 13> switch_names{
    "autograd_anomaly", "autograd_profiler", "tensorboard_profiler", "memory_usage",
    "gradient_norms",   "forward_pass",      "backward_pass",        "device_placement",
    "mixed_precision",  "data_loading",      "validation",           "early_stopping",
    "lr_scheduling"};
constexpr size_t switch_count = switch_names.size();
static_assert(static_cast<size_t>(Switch::lr_scheduling) + 1 == switch_count);

[[nodiscard]] constexpr std::string_view name_of(Switch which) {
  return switch_names[static_cast<size_t>(which)];
}
[[nodiscard]] std::optional<Switch> switch_named(std::string_view name);

/// The two that record operations. Ending them takes all ranks together, so the trainer conducts
/// them; the others are Tools.
[[nodiscard]] constexpr bool is_profiler(Switch which) {
  return which == Switch::autograd_profiler || which == Switch::tensorboard_profiler;
}

/// Whether its tool sees what happens between a step's begin and end, of which nothing is left to
/// see where a device repeats the step as a graph. Known without a tool, since a rank may have
/// none.
[[nodiscard]] constexpr bool sees_inside_steps(Switch which) {
  switch (which) {
    case Switch::autograd_anomaly:
    case Switch::memory_usage:
    case Switch::gradient_norms:
    case Switch::forward_pass:
    case Switch::backward_pass:
    case Switch::device_placement:
    case Switch::mixed_precision:
      return true;
    case Switch::autograd_profiler:
    case Switch::tensorboard_profiler:
    case Switch::data_loading:
    case Switch::validation:
    case Switch::early_stopping:
    case Switch::lr_scheduling:
      return false;
  }
  return false;
}

}  // namespace trireme::debug

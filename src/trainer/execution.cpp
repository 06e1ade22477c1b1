#include "trainer/execution.h"

#include <variant>

#include <fmt/format.h>

#include <trireme/core/error.h>
#include <trireme/device/optimization.h>

namespace trireme::trainer {
namespace {

/// Why the device's part of a step cannot be recorded; empty: it can.
std::string obstacle(const RunConfig& config, c10::DeviceType device, bool repeatable) {
  if (device == c10::DeviceType::CPU) return "the run computes on a CPU";
  if (!repeatable) return "the model does not say that it can be repeated (Model::repeatable)";
  if (config.parallel.strategy != "ddp")
    return fmt::format("parallel.strategy: {} takes and gives memory within a step", config.parallel.strategy);
  if (config.parallel.activations == "host") return "parallel.activations: host moves memory within a step";
  if (const auto* what = std::get_if<std::string>(&config.parallel.recompute); what == nullptr || *what != "none")
    return "parallel.recompute looks at the state of random generators, which a recording does not allow";
  return {};
}

}  // namespace

Execution plan_execution(const RunConfig& config, c10::DeviceType device, bool repeatable) {
  const std::string compile = config.train.compile.value_or(device::value_at(config.device.optimization_level, "train.compile"));
  const std::string graph = config.train.graph.value_or(
      compile == "off" ? "off" : compile == "reduce-overhead" ? "on" : device::value_at(config.device.optimization_level, "train.graph"));
  if (config.train.graph && config.train.compile && ((compile == "off" && graph == "on") || (compile == "reduce-overhead" && graph == "off")))
    throw Error(ErrorKind::configuration, fmt::format("train.graph: {} contradicts train.compile: {}", graph, compile),
                "leave one of the two out");
  Execution plan;
  plan.autotune = compile == "max-autotune";
  if (graph == "off") return plan;
  plan.why_eager = obstacle(config, device, repeatable);
  if (graph == "on" && !plan.why_eager.empty())
    throw Error(ErrorKind::configuration,
                fmt::format("steps cannot be repeated as a graph ({}): {}",
                            config.train.graph ? "train.graph: on" : "train.compile: reduce-overhead", plan.why_eager),
                "set train.graph: auto, or leave it out");
  if (plan.why_eager.empty()) plan.graph = graph == "on" ? Execution::Graph::required : Execution::Graph::automatic;
  return plan;
}

}  // namespace trireme::trainer

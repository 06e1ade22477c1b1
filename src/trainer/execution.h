#pragma once

#include <string>

#include <trireme/device/config.h>

#include <c10/core/Device.h>

#include "trainer/run_config.h"

namespace trireme::trainer {

/// How the device's part of a step is run.
struct Execution {
  enum class Graph { off, automatic, required };
  Graph graph = Graph::off;
  bool autotune = false;   ///< choose among the algorithms of matrix products and attention by timing them
  std::string why_eager;   ///< why steps are not repeated as a graph although that was not switched off; empty: they are
  bool operator==(const Execution&) const = default;
};

/// What train.graph, train.compile and device.optimization_level mean together; `repeatable` is the model's. Error
/// `configuration` for wishes that contradict each other or cannot be met.
[[nodiscard]] Execution plan_execution(const RunConfig& config, c10::DeviceType device, bool repeatable);

}  // namespace trireme::trainer

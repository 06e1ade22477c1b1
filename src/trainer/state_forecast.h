#pragma once

#include <string>
#include <vector>

#include <trireme/comm/world.h>
#include <trireme/core/error.h>
#include <trireme/parallel/state_plan.h>

#include "trainer/run_config.h"

namespace trireme::trainer {

/// What the state of a run needs on each rank, before or instead of building it: from the model's shapes alone.
class StateForecast {
 public:
  StateForecast(const RunConfig& config, comm::World& world);

  /// With another strategy than the configuration's, or its own.
  [[nodiscard]] parallel::StateBytes with(const std::string& strategy) const;
  /// Of one unit, in the model's order, between steps.
  [[nodiscard]] parallel::StateBytes of_unit(size_t unit) const;
  /// "52.8 MiB of parameters, ...": for the log.
  [[nodiscard]] std::string text() const;
  /// Adds what the state needs, which tensors are the largest, and which strategies would need less, or fit.
  [[nodiscard]] Error explain(const Error& out_of_memory) const;

 private:
  const RunConfig& config_;
  int shard_ranks_ = 1;
  std::vector<parallel::UnitElements> units_;
  parallel::ElementBytes bytes_;
  std::vector<std::string> largest_;  // "name [shape] 12.0 MiB", largest first
};

}  // namespace trireme::trainer

#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/statistics.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// What one unit of the model takes on one rank; what is measured is the mean of some micro-steps.
struct UnitRow {
  std::string name;
  int64_t parameters_bytes = 0;  ///< between steps
  int64_t gradients_bytes = 0;
  int64_t optimizer_bytes = 0;
  int64_t buffers_bytes = 0;
  int64_t activations_bytes =
      0;                       ///< the most that a micro-step kept from its forward to its backward
  double forward_seconds = 0;  ///< of a micro-step, mean over those that were measured
  double backward_seconds = 0;
};

/// One unit over all ranks; bytes of the state are those of rank 0, they are cut evenly.
struct UnitSpread {
  UnitRow row;
  telemetry::Spread activations_bytes, forward_seconds, backward_seconds;
};

/// Every rank calls with the same units. On rank 0 one each, nothing elsewhere.
[[nodiscard]] std::optional<std::vector<UnitSpread>> reduce_units(comm::Communicator& ranks,
                                                                  std::span<const UnitRow> mine);

}  // namespace trireme::report

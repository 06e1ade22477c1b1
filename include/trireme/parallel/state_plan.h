#pragma once

#include <trireme/parallel/config.h>

#include <cstdint>
#include <span>

namespace trireme::parallel {

/// What one unit adds to the state of training.
struct UnitElements {
  int64_t trained = 0;
  int64_t frozen = 0;
};

/// What of an element's state depends on precision and optimizer, in bytes.
struct ElementBytes {
  int64_t parameter = 4;
  int64_t travelling = 4;  ///< of a gradient between ranks
  int64_t optimizer = 8;   ///< moments, and the master where the parameter has one
};

/// Bytes on one rank, without activations and without padding.
struct StateBytes {
  int64_t parameters = 0;
  int64_t gradients = 0;
  int64_t optimizer = 0;
  int64_t passing = 0;  ///< at most, of what is gathered, or reduced and freed again, during a step
  [[nodiscard]] int64_t total() const { return parameters + gradients + optimizer + passing; }
};

/// `shard_ranks`: ranks that share one copy of what is cut.
[[nodiscard]] StateBytes plan_state(std::span<const UnitElements> units, const ElementBytes& bytes,
                                    const ParallelConfig& config, int shard_ranks);

}  // namespace trireme::parallel

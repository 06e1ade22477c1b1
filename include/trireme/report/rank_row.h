#pragma once

#include <trireme/telemetry/phase.h>
#include <trireme/telemetry/recorder.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

namespace trireme::report {

/// What every rank tells about a window of steps. The first items are the phases, in their order.
/// Seconds, bytes and calls of communication, synchronisations and operations are means a step;
/// memory is the most of the window. NaN: not known on this rank.
enum class Item : size_t {
  first_phase = 0,
  step_seconds = telemetry::phase_count,
  comm_busy_seconds,
  comm_bytes,
  comm_calls,
  allocated,
  reserved,
  peak,  ///< the most that was allocated in a step of the window
  rss,
  comm_hidden_seconds,      ///< busy, while the step did not wait for it
  typical_working_seconds,  ///< of the window's steps, see typical_of(): what single slow steps do
                            ///< not move
  host_syncs,               ///< times the host waited for the device
  host_sync_seconds,
  flops,         ///< of the model: operations that forward and backward need
  load_seconds,  ///< of all loading threads together
  // What `peak` was made of; these add up to it.
  parameters,
  gradients,
  optimizer_state,
  buffers,
  activations,
  batches,
  other_memory,
  // Of the device, where it has sensors.
  utilisation,  ///< share of the time in which it computed
  power_watts,
  celsius,
  throttled,  ///< share of the samples in which its clocks were held down
  peak_ever,  ///< bytes: the most that was ever allocated, outside of steps too
  steps,      ///< how many steps the window has on this rank
};
constexpr size_t item_count = static_cast<size_t>(Item::steps) + 1;

/// Unique: the bytes of what has a phase of its name end in _bytes.
constexpr std::array<std::string_view, item_count> item_names{"data",
                                                              "forward",
                                                              "backward",
                                                              "comm_exposed",
                                                              "optimizer",
                                                              "graph",
                                                              "checkpoint",
                                                              "other",
                                                              "step_seconds",
                                                              "comm_busy_seconds",
                                                              "comm_bytes",
                                                              "comm_calls",
                                                              "allocated",
                                                              "reserved",
                                                              "peak",
                                                              "rss",
                                                              "comm_hidden_seconds",
                                                              "typical_working_seconds",
                                                              "host_syncs",
                                                              "host_sync_seconds",
                                                              "flops",
                                                              "load_seconds",
                                                              "parameters_bytes",
                                                              "gradients_bytes",
                                                              "optimizer_bytes",
                                                              "buffers_bytes",
                                                              "activations_bytes",
                                                              "batches_bytes",
                                                              "other_bytes",
                                                              "utilisation",
                                                              "power_watts",
                                                              "celsius",
                                                              "throttled",
                                                              "peak_ever",
                                                              "steps"};

[[nodiscard]] constexpr size_t index_of(Item item) {
  return static_cast<size_t>(item);
}
[[nodiscard]] constexpr size_t index_of(telemetry::Phase phase) {
  return static_cast<size_t>(phase);
}
[[nodiscard]] constexpr std::string_view name_of(Item item) {
  return item_names[index_of(item)];
}

using RankRow = std::array<double, item_count>;

/// Bytes that this rank knows it holds at the fullest moment of a window.
struct MemoryKinds {
  double parameters = 0;
  double gradients = 0;
  double optimizer = 0;
  double buffers = 0;
  double activations = 0;
  double batches = 0;
};
/// Means over the window's samples of the device's sensors.
struct SensorMeans {
  double utilisation = 0;  ///< 0..1
  double power_watts = 0;
  double celsius = 0;
  double throttled = 0;  ///< 0..1
};
/// What a row says besides what the records of the steps hold; means a step.
struct RankExtras {
  double host_syncs = 0;
  double host_sync_seconds = 0;
  std::optional<double> flops = {};
  std::optional<double> load_seconds = {};
  std::optional<MemoryKinds> memory = {};
  std::optional<SensorMeans> sensors = {};
};

/// This rank's row over the steps; without steps all zero, and NaN where nothing is known. Of the
/// memory kinds as much is believed, in their order and activations last, as fits into `peak`; the
/// rest of it is other_memory.
[[nodiscard]] RankRow row_of(std::span<const telemetry::StepRecord> steps,
                             const RankExtras& extras = {});

/// The Hodges-Lehmann estimate of the middle (median of the means of all pairs): nearly as exact as
/// the mean where noise is normal, and up to 29 % of the values can be anything. 0 without values.
[[nodiscard]] double typical_of(std::span<const double> values);

/// Whether the rank's loading threads take no longer than those of the others (seconds a step, by
/// rank). Loaders run ahead: where all are too slow, the rank whose batch happens to come last waits
/// for data and all others for that rank, which is not slower than they. False where it is not known.
[[nodiscard]] bool loads_like_the_others(std::span<const double> load_seconds, size_t rank);

/// How long a rank worked in a mean step: the step without its waiting for others.
[[nodiscard]] double working_seconds(const RankRow& row);

/// The same of its typical step, where the row says it, without checkpoints.
[[nodiscard]] double typical_working_of(const RankRow& row);

/// The rank that works longest, and by which part (0.12 for 12 %) longer than the median of the
/// others.
struct Slowest {
  int rank = -1;  ///< -1 if there are not two ranks
  double excess = 0;
};
[[nodiscard]] Slowest slowest_of(std::span<const RankRow> rows);
/// Of seconds of work, by rank.
[[nodiscard]] Slowest slowest_among(std::span<const double> working);

}  // namespace trireme::report

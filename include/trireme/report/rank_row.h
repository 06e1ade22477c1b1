#pragma once

#include <trireme/telemetry/phase.h>
#include <trireme/telemetry/recorder.h>

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

namespace trireme::report {

/// What every rank tells about a window of steps. The first items are the phases, in their order.
/// Seconds, bytes and calls of communication are means a step; memory is the most of the window.
enum class Item : size_t {
  first_phase = 0,
  step_seconds = telemetry::phase_count,
  comm_busy_seconds,
  comm_bytes,
  comm_calls,
  allocated,
  reserved,
  peak,
  rss,
  steps,  ///< how many steps the window has on this rank
};
constexpr size_t item_count = static_cast<size_t>(Item::steps) + 1;

[[nodiscard]] constexpr size_t index_of(Item item) {
  return static_cast<size_t>(item);
}
[[nodiscard]] constexpr size_t index_of(telemetry::Phase phase) {
  return static_cast<size_t>(phase);
}

using RankRow = std::array<double, item_count>;

/// This rank's row over the steps; all zero without steps.
[[nodiscard]] RankRow row_of(std::span<const telemetry::StepRecord> steps);

/// How long a rank worked in a mean step: the step without its waiting for others.
[[nodiscard]] double working_seconds(const RankRow& row);

/// The rank that works longest, and by which part (0.12 for 12 %) longer than the median of the
/// others.
struct Slowest {
  int rank = -1;  ///< -1 if there are not two ranks
  double excess = 0;
};
[[nodiscard]] Slowest slowest_of(std::span<const RankRow> rows);

}  // namespace trireme::report

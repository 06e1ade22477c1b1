#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::telemetry {

/// One thing that ran while operations were recorded.
struct OperatorEvent {
  enum class Kind : uint8_t {
    operation,   ///< of LibTorch on the host: forward, backward, recomputation
    annotation,  ///< a range that someone named (RECORD_USER_SCOPE)
    runtime,     ///< a call of the device's runtime or driver, on the host
    kernel,      ///< on a device
    copy,        ///< a copy or fill on a device
    memory,      ///< a moment: `bytes` were allocated, or freed if negative
  };
  uint32_t name = 0;  ///< index into OperatorTrace::strings, like the next two; 0: none
  uint32_t shapes =
      0;  ///< of the inputs: "[[64, 128], [128, 32], []]", other things than tensors empty
  uint32_t stack = 0;  ///< where it was called from, innermost first, a line a frame
  Kind kind = Kind::operation;
  int32_t thread =
      0;  ///< number of the host thread, 0 the one that recorded; on a device the stream
  int32_t device = -1;   ///< -1: the host
  int64_t start_ns = 0;  ///< of now_ns()
  int64_t duration_ns = 0;
  int64_t step = -1;
  /// By the formulas of flops.h. Of operations within each other the innermost that has a formula
  /// counts, so that sums over events count nothing twice.
  int64_t flops = 0;
  /// Allocated less freed while it ran, what ran inside included. Other threads' are in it too.
  int64_t bytes = 0;
  int64_t correlation =
      0;  ///< the same for a runtime call and what it started on a device; 0: none
};
constexpr std::array<std::string_view, 6> operator_kind_names{"operation", "annotation", "runtime",
                                                              "kernel",    "copy",       "memory"};
static_assert(static_cast<size_t>(OperatorEvent::Kind::memory) + 1 == operator_kind_names.size());

[[nodiscard]] constexpr std::string_view name_of(OperatorEvent::Kind kind) {
  return operator_kind_names[static_cast<size_t>(kind)];
}

/// What one process recorded, ordered by start; of two that start together the longer comes first.
struct OperatorTrace {
  std::vector<std::string> strings{""};
  std::vector<OperatorEvent> events;
  int64_t dropped = 0;  ///< events that came after there was no more room
};

/// The order of OperatorTrace::events.
void order(std::vector<OperatorEvent>& events);

/// Of each of the events, which are in order, the place of the innermost that it ran in, on the
/// same thread or stream; -1: none. Moments are nobody's parents.
[[nodiscard]] std::vector<int64_t> parents_of(std::span<const OperatorEvent> events);

}  // namespace trireme::telemetry

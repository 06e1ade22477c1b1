#pragma once

#include <trireme/report/trace.h>

#include <cstdint>
#include <span>
#include <vector>

namespace trireme::report {

/// Numbers of the records by start; of two that start together the longer first, as nested ones
/// must stand in a trace.
[[nodiscard]] std::vector<uint32_t> order_of(std::span<const telemetry::SpanRecord> spans);
[[nodiscard]] std::vector<uint32_t> order_of(std::span<const telemetry::OperatorEvent> events);

/// For each span the thread that shows it among those of communication, -1 for spans that are no
/// calls of a communicator. Calls that overlap in time get different ones, as few as possible.
[[nodiscard]] std::vector<int> communication_lanes(std::span<const telemetry::SpanRecord> spans,
                                                   std::span<const uint32_t> order);

/// A step as the trace shows it: to its end where that is known, and no further than to the next.
struct StepInterval {
  int64_t step = 0;
  int64_t start_ns = 0;
  int64_t end_ns = 0;
};
[[nodiscard]] std::vector<StepInterval> step_intervals(const TracePart& part);

/// The samples, or without any what the steps' records say of their ends.
[[nodiscard]] std::vector<MemorySample> memory_samples(const TracePart& part);

}  // namespace trireme::report

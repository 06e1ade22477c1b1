#pragma once

#include <trireme/report/trace.h>

#include "report/trace_gzip.h"
#include "report/trace_lines.h"

#include <cstdint>
#include <optional>

namespace trireme::report {

/// When the part begins, in rank 0's clock; nothing if it holds no events.
[[nodiscard]] std::optional<int64_t> first_moment(const TracePart& part);

struct PartCounts {
  int64_t events = 0;     ///< lines
  int64_t completes = 0;  ///< of them those with a duration
  int64_t dropped = 0;    ///< records for which there was no room
};

/// All lines of one rank, into `out`, which stays open. `base_ns`: the trace's beginning in rank
/// 0's clock. What would exceed `max_bytes` of text is left out, the oldest first.
PartCounts format_part(const TracePart& part, int rank, int64_t base_ns, TraceDialect dialect,
                       int64_t max_bytes, GzipPart& out);

}  // namespace trireme::report

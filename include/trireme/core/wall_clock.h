#pragma once

#include <cstdint>
#include <string>

namespace trireme {

/// UTC since 1970, for records and files that processes share. Durations go by the steady clock.
[[nodiscard]] int64_t wall_clock_ns();
[[nodiscard]] double wall_clock_seconds();
/// ISO 8601 with milliseconds: 2026-03-01T12:00:00.250Z.
[[nodiscard]] std::string utc_time();

}  // namespace trireme

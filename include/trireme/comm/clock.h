#pragma once

#include <trireme/comm/communicator.h>

#include <cstdint>
#include <functional>

namespace trireme::comm {

/// How a rank's clock stood to rank 0's at one moment.
struct ClockOffset {
  int64_t at_ns = 0;           ///< when, by the own clock
  int64_t offset_ns = 0;       ///< own time + offset = rank 0's time
  int64_t uncertainty_ns = 0;  ///< the true offset is not further away than this
};

/// Nanoseconds of a clock that runs evenly: telemetry::now_ns, another in tests.
using ClockSource = std::function<int64_t()>;

/// Measures the offset of this rank's clock by exchanging small messages with rank 0 and believing
/// the quickest exchange (F. Cristian, Probabilistic clock synchronization, Distributed Computing
/// 3, 1989). Every rank calls. Processes of one host read the same clock, so one of them asks for
/// all: with rank 0's host the offset is 0, exactly. Hosts take their turns, about a millisecond
/// each. `all` moves tensors of the CPU.
[[nodiscard]] ClockOffset align_clocks(Communicator& all);
/// The same with any clocks, no two of which are taken to be the same.
[[nodiscard]] ClockOffset align_clocks(Communicator& all, const ClockSource& clock);

/// Whether the two differ by more than their uncertainties.
[[nodiscard]] bool drifts(const ClockOffset& begin, const ClockOffset& end);

/// Rank 0's time when the own clock shows `own_ns`: between two measurements the offset changes
/// evenly, outside it stays. Without a drift that is beyond doubt the better one holds throughout.
/// Grows with `own_ns`.
[[nodiscard]] int64_t to_rank0(const ClockOffset& begin, const ClockOffset& end, int64_t own_ns);

}  // namespace trireme::comm

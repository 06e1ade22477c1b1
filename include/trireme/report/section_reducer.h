#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/section.h>
#include <trireme/telemetry/statistics.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// One section over the ranks that called it; spreads are by rank of all ranks.
struct SectionSpread {
  std::string name;
  telemetry::Category category = telemetry::Category::user;
  int ranks = 0;
  double calls = 0;                ///< of a rank, mean
  telemetry::Spread seconds;       ///< of all its calls together
  telemetry::Spread memory_delta;  ///< bytes of a call, mean; not known where none tracked memory
  telemetry::Spread memory_peak;   ///< bytes of the call with the most
};

/// Every rank calls, with its own sections; they are matched by name and category. On rank 0 all of
/// them, the longest first; nothing elsewhere.
[[nodiscard]] std::optional<std::vector<SectionSpread>> reduce_sections(
    comm::Communicator& ranks, std::span<const telemetry::SectionTotals> mine);

}  // namespace trireme::report

#pragma once

#include <trireme/report/verdict.h>

#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// "rank 3 on n2", or "rank 3" where the host is not known.
[[nodiscard]] std::string name_rank(int rank, std::span<const std::string> hosts);

/// What the run's rows and its configuration say would help, most about the first; each sentence
/// has its numbers.
struct AdviceOn {
  std::span<const RankRow> rows;
  std::span<const std::string> hosts;
  const Circumstances& known;
};
[[nodiscard]] std::vector<std::string> advice_on_data(const AdviceOn& run);
[[nodiscard]] std::vector<std::string> advice_on_communication(const AdviceOn& run);
[[nodiscard]] std::vector<std::string> advice_on_checkpoints(const AdviceOn& run);
[[nodiscard]] std::vector<std::string> advice_on_overhead(const AdviceOn& run);
/// `section` is where the rank loses `seconds` a step of the others' time.
[[nodiscard]] std::vector<std::string> advice_on_straggler(const AdviceOn& run, int rank,
                                                           telemetry::Phase section,
                                                           double seconds);
[[nodiscard]] std::vector<std::string> advice_on_leak(const AdviceOn& run, const Leak& leak);
/// Whatever the verdict: memory that is nearly full, clocks that are held down.
[[nodiscard]] std::vector<std::string> advice_on_limits(const AdviceOn& run);

}  // namespace trireme::report

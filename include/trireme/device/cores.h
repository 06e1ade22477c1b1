#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trireme::device {

/// The CPUs this process may run on, ascending.
[[nodiscard]] std::vector<int> affinity_cores();

/// CPU lists as the kernel writes them: {0,1,2,8} <-> "0-2,8". Parsing stops at the first thing
/// that is no list.
[[nodiscard]] std::string format_cores(const std::vector<int>& cores);
[[nodiscard]] std::vector<int> parse_cores(std::string_view list);

/// How many threads a rank may keep busy: of each of its cores the part that is left by the ranks
/// of the same host
/// (`local_masks`, its own included) that may use it too. At least 1. Right for bound and for
/// unbound ranks alike.
[[nodiscard]] int fair_threads(const std::vector<int>& own_mask,
                               const std::vector<std::vector<int>>& local_masks);

}  // namespace trireme::device

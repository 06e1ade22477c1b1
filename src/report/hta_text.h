#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::report {

// One rank's file, around its lines, as Holistic Trace Analysis and TensorBoard's plugin want it.

/// All before the lines.
[[nodiscard]] std::string hta_heading(int64_t rank, int64_t ranks, int64_t base_unix_ns);
/// A line for a file in which nothing has a duration: its reader fails without one.
[[nodiscard]] std::string hta_placeholder(int64_t rank);
constexpr std::string_view hta_ending = "\n]}\n";

}  // namespace trireme::report

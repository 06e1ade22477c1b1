#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace trireme::report {

/// Which of the points of curves over the same steps to draw when not all can be: indices, rising,
/// at most `limit` (but never fewer than each curve's needs in one stretch). The first and the last
/// are among them, and of every stretch of equal length the smallest and the largest value of each
/// curve and the first value that is not finite. Curves have equal lengths.
[[nodiscard]] std::vector<size_t> points_to_draw(std::span<const std::span<const double>> curves,
                                                 size_t limit);

}  // namespace trireme::report

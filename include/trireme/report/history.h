#pragma once

#include <trireme/report/rank_reducer.h>
#include <trireme/report/row_sum.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace trireme::report {

/// What is shown over time, besides the phases; with many ranks this is the most of report.json.
inline constexpr std::array history_items{Item::step_seconds,
                                   Item::typical_working_seconds,
                                   Item::comm_busy_seconds,
                                   Item::load_seconds,
                                   Item::host_sync_seconds,
                                   Item::allocated,
                                   Item::reserved,
                                   Item::peak,
                                   Item::rss,
                                   Item::activations,
                                   Item::utilisation,
                                   Item::power_watts,
                                   Item::celsius,
                                   Item::throttled};

/// The rows of all ranks over the whole run, in at most 128 bins of equally many windows: when they
/// are full each two become one.
class History {
 public:
  static constexpr size_t capacity = 128;
  static constexpr size_t most_values = 500'000;

  /// Every window has the same ranks.
  void add(const Window& window, int64_t step);

  struct Bin {
    int64_t last_step = 0;
    int64_t windows = 0;
    std::vector<RowSum> ranks;  ///< means over the steps, memory the most
  };
  [[nodiscard]] const std::vector<Bin>& bins() const { return bins_; }
  /// {"steps": [last step of each bin], "ranks": N, "items": {name: [[by rank] by bin]}}; null
  /// where a value is not known; items that no rank knows, or that are 0 on all, are left out.
  /// Numbers have four digits, and neighbouring bins become one where there are more than
  /// `most_values` numbers: below 5 MB.
  [[nodiscard]] std::string json() const;

 private:
  std::vector<Bin> bins_;
  int64_t stride_ = 1;  // windows of a full bin
};

}  // namespace trireme::report

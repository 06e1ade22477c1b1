#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace trireme::debug {

/// Whether a quantity that is noted at one moment of each step only ever grows. The level of a
/// window is its median. A leak: over `windows` windows in a row the level and the lowest note have
/// risen from each to the next, to a height that was never seen before, by more than `threshold`
/// and by more than the noise inside of the windows. A stair, or what fills up and is freed again
/// within that time, is none.
class GrowthAnalysis {
 public:
  struct Settings {
    size_t window = 16;      ///< notes
    size_t windows = 6;      ///< at least 3
    double threshold = 1e6;  ///< bytes, over all of the windows
  };
  struct Growth {
    double per_step = 0;  ///< slope by Theil and Sen: the median of those between any two notes
    double total = 0;     ///< between the levels of the first and the last window
    int64_t from_step = 0, to_step = 0;
  };
  GrowthAnalysis();
  explicit GrowthAnalysis(const Settings& settings);

  /// A leak, when one is seen: told once, and again after as many windows of further growth.
  std::optional<Growth> add(int64_t step, double value);

  /// Over the notes that are kept, leak or not; nothing before there are 3.
  [[nodiscard]] std::optional<Growth> growth() const;

 private:
  struct Note {
    int64_t step;
    double value;
  };
  struct Window {
    double level, lowest, noise;
    int64_t first_step;
  };
  [[nodiscard]] std::optional<Growth> leak() const;
  void close_window();

  Settings settings_;
  std::vector<Note> notes_;      // of the open window and the last `windows`
  std::vector<Window> windows_;  // the last
  double highest_before_;        // of the levels that are no longer kept
  size_t in_window_ = 0;
};

}  // namespace trireme::debug

#pragma once

#include <trireme/report/rank_row.h>

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace trireme::report {

/// A rank that keeps the others waiting, step after step.
struct Straggler {
  int rank = -1;
  telemetry::Phase section = telemetry::Phase::other;  ///< where it loses most
  double excess = 0;   ///< how much longer than the median of the others it works: 0.2 for 20 %
  double seconds = 0;  ///< what it loses in the section, a step
  int64_t from_step = 0;
  int64_t to_step = 0;  ///< the last step at which it was seen so
};

/// Names ranks that are persistently slower than the others, from the windows of a run as they
/// come. Pure: what it says depends on the rows alone. A rank that works 20 % longer is named
/// within 50 steps if windows have at most 10; one that is 10 % slower is not, nor is one that is
/// slow now and then, nor are differences that are usual among these ranks.
class StragglerDetector {
 public:
  /// What was not named by then, is not 20 % slower; in fewer steps nothing can be said.
  static constexpr int64_t steps_to_name = 50;

  /// `rows` of a window that ends with `step`, by rank. A straggler is returned once, when it is
  /// named; if several are due, the worst, and the others with the next windows.
  std::optional<Straggler> observe(std::span<const RankRow> rows, int64_t step);

  /// All that were named, in that order.
  [[nodiscard]] const std::vector<Straggler>& found() const { return found_; }
  /// Seconds that each rank typically works in the first steps_to_name steps, which single slow
  /// windows do not move.
  [[nodiscard]] std::vector<double> early_working() const;

 private:
  using Phases = std::array<double, telemetry::phase_count>;
  /// Ten steps or more, by rank.
  struct Block {
    int64_t first_step = 0, last_step = 0;
    std::vector<double> excess;  // of the working time over the median of the others
    std::vector<Phases> phases;
    std::vector<double> load_seconds;  // of the loading threads, a step
  };
  struct Noise {
    double jitter = 0;  // from block to block
    double wander = 0;  // over many blocks
  };

  [[nodiscard]] Block close_block();
  [[nodiscard]] size_t run_of(size_t rank) const;  // the latest blocks in which it was slow
  /// Of the rank, or the usual one if that is more, as it was before its last `run` blocks.
  [[nodiscard]] Noise noise_of(size_t rank, size_t run) const;
  [[nodiscard]] std::optional<Straggler> judge_rank(size_t rank, size_t run) const;
  /// Median over the last `blocks`, of what the rank loses in the phase.
  [[nodiscard]] double lost_in(size_t phase, size_t rank, size_t blocks) const;

  std::vector<std::vector<RankRow>> open_;  // windows of the block under way
  double open_steps_ = 0;
  double steps_ = 0;                       // all
  std::vector<std::vector<double>> early_;  // seconds of work, by rank, of the first windows
  int64_t last_step_ = 0;
  std::deque<Block> blocks_;
  // Blocks of ranks that are not named: all, and the slow ones among them.
  size_t seen_ = 0, slow_ = 0;
  std::vector<Straggler> found_;
  std::vector<int> active_;  // by rank: index into found_ while it is slow, or -1
};

}  // namespace trireme::report

#pragma once

#include <trireme/report/rank_reducer.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

/// Seconds of the wall clock since the first start of a run; the parts exclude each other and add
/// up to `wall`.
///
/// What a step waits for is told by its critical rank, the one that waits least for communication:
/// its waiting for data and for transfers is `waiting`, its checkpoint phase is `checkpoint`, the
/// rest of the step is useful. (What the other ranks wait is the critical rank's work.)
struct Goodput {
  double wall = 0;
  double useful = 0;   ///< steps that the run still stands on
  double startup = 0;  ///< from the start of the process to its first step
  double checkpoint = 0;
  double evaluation = 0;
  double waiting = 0;
  double other = 0;
  double lost = 0;  ///< useful once, but made again after a restart
  double down = 0;  ///< between attempts
  [[nodiscard]] double goodput() const { return wall > 0 ? useful / wall : 0; }
};

/// Where the time of a run went, over all its attempts. Times of day are seconds since 1970. Keeps
/// itself as a text, goodput.json; what is not written when a process is killed is its only loss.
class GoodputLedger {
 public:
  /// `previous`: the text that the attempt before left; empty, or not readable: none, so the run
  /// starts here. `resumed_step`: none if the run begins anew, which loses all work of attempts
  /// that did not finish; after one that did the ledger starts again, too. `started`: when this
  /// process did.
  GoodputLedger(std::string_view previous, int64_t attempt, std::optional<int64_t> resumed_step,
                double started);

  /// The attempt is alive: what is not written when it is killed counts as down from here on.
  void seen(double now) { (void)at(now); }
  /// The first step begins now. Without the call it is told by the first window.
  void first_step(double now);
  /// A window that ends with `step`.
  void add(const Window& window, int64_t step, double now);
  /// Seconds outside of steps that were evaluation, or the saving of a checkpoint.
  void evaluation(double seconds, double now);
  void checkpoint(double seconds, double now);
  /// The attempt ends. `done`: with all steps made; the time to the next attempt is not `down`
  /// then.
  void finish(bool done, double now);

  [[nodiscard]] Goodput totals() const;
  /// The text of goodput.json; report.json has the same under "goodput", without the marks by which
  /// a later attempt tells what is lost.
  [[nodiscard]] std::string json(bool marks = true) const;

 private:
  struct Attempt {
    int64_t attempt = 0;
    double started = 0, last_seen = 0;
    std::optional<double> first_step_at;
    int64_t from_step = 0, to_step = 0;
    double useful = 0, checkpoint = 0, evaluation = 0, waiting = 0;
    double lost = 0;  // part of what was useful
    bool done = false;
    std::vector<std::pair<int64_t, double>> marks;  // step, useful seconds until its end
  };
  [[nodiscard]] static Goodput parts_of(const Attempt& attempt);
  /// Of the gap before attempts_[index].
  [[nodiscard]] double down_before(size_t index) const;
  [[nodiscard]] static double useful_until(const Attempt& attempt, int64_t step);
  [[nodiscard]] static std::vector<Attempt> read(std::string_view previous);
  [[nodiscard]] Attempt& at(double now);

  std::vector<Attempt> attempts_;  // the last is this one
};

/// When this process started, in seconds since 1970; now, where the system does not say.
[[nodiscard]] double process_started();

}  // namespace trireme::report

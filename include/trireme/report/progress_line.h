#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace trireme::report {

struct Progress {
  int64_t step = 0;
  int64_t total = 0;  ///< 0 if the end is not known
  double loss = 0;
  double lr = 0;
  double per_second = 0;
  std::string unit = "samples";  ///< of per_second: tokens or samples
  std::optional<double> seconds_left;
  int slowest_rank = -1;
  double slowest_excess = 0;  ///< 0.12: 12 % above the others; shown above 5 %
};

/// Where the line goes.
struct Terminal {
  bool tty = false;  ///< the line is rewritten in place
  bool colour = false;
  int columns = 80;
};
/// Of file descriptor `fd`. Without colour if NO_COLOR is set (to anything but nothing, see
/// no-color.org) or TERM is dumb.
[[nodiscard]] Terminal terminal_of(int fd);

/// The line without line ends or cursor movement; ASCII only.
[[nodiscard]] std::string progress_text(const Progress& progress, bool colour);
/// What to write to the terminal to show it: rewrites the line on a TTY (never wider than it),
/// appends one elsewhere.
[[nodiscard]] std::string render(const Progress& progress, const Terminal& terminal);

/// 950, 12.3k, 4.56M
[[nodiscard]] std::string short_number(double value);
/// 0:01:23, 26:00:00
[[nodiscard]] std::string short_time(double seconds);

/// The status line of rank 0. Does not own the descriptor.
class ProgressLine {
 public:
  explicit ProgressLine(int fd);
  void show(const Progress& progress);
  /// Takes the line away, so that other output starts on an empty one. Call before logging and at
  /// the end.
  void clear();

 private:
  int fd_;
  Terminal terminal_;
  bool shown_ = false;
};

}  // namespace trireme::report

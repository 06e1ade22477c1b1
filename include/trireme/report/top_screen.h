#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::report {

/// What `trireme top` shows of a run. Numbers that are not known are NaN, texts empty.
struct TopRun {
  /// `lost`: it ended without a word, or hangs: whoever holds its lock gives no sign of life.
  enum class State : uint8_t { empty, running, finished, stopped, failed, lost };
  struct Spread {
    std::string name;
    double mean = 0;
    double max = 0;
    int max_rank = -1;
    std::string max_host;
  };
  struct Evaluation {
    int64_t step = 0;
    double loss = 0;
    std::vector<std::pair<std::string, double>> metrics;
  };
  struct Event {
    std::string time;  ///< 2026-11-21T09:30:05.123Z
    std::string text;
  };

  std::string path;
  State state = State::empty;
  std::string message;  ///< of a failure or a loss
  std::string hint;
  std::string holder;  ///< who runs it: job, host, process
  int64_t attempt = 0;
  int64_t ranks = 0;
  double record_age = -1;  ///< seconds since the last record; -1: there is none

  int64_t step = 0;
  int64_t total = 0;  ///< 0 if not known
  std::optional<double> seconds_left;
  double loss = 0, lr = 0, grad_norm = 0;
  double step_seconds = 0, samples_per_second = 0, tokens_per_second = 0;
  int64_t skipped = 0;
  double mfu = 0, goodput = 0;  ///< shares, 0..1
  std::vector<double> losses;   ///< of the last records, the oldest first
  std::vector<Spread> phases;   ///< seconds of a mean step
  std::vector<Spread> memory;   ///< bytes
  std::vector<Spread> sensors;  ///< of the devices, where they have some
  std::optional<Evaluation> evaluation;
  std::vector<std::string> troubles;  ///< stragglers and leaks of this attempt
  std::vector<std::string> switches;  ///< that are on
  std::string verdict;                ///< on a run that has ended
  std::vector<Event> events;          ///< the last ones, the oldest first
  std::vector<std::string> findings;  ///< of debug switches, likewise
};

[[nodiscard]] std::string_view name_of(TopRun::State state);

struct TopStyle {
  int width = 80;
  bool colour = false;
  bool unicode = true;   ///< block elements may be used, and other texts shown as they are
  bool compact = false;  ///< the most important lines only
};

/// Lines without line ends, none wider than `width`. Texts of the run cannot smuggle in control
/// characters.
[[nodiscard]] std::vector<std::string> top_screen(const TopRun& run, const TopStyle& style);

/// One object; numbers that are not known are null.
[[nodiscard]] std::string top_json(const std::vector<TopRun>& runs);

}  // namespace trireme::report

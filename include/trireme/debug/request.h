#pragma once

#include <trireme/core/error.h>
#include <trireme/debug/switches.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// For more, leave the number out.
constexpr int64_t most_steps = 1'000'000'000'000;

/// That a profiler records where the request names no steps.
constexpr int64_t default_profile_steps = 10;
/// That it may be asked for: what it records is kept in memory until it ends.
constexpr int64_t most_profile_steps = 10'000;

/// What is asked of all ranks at once: from the command line, the configuration, a rule or C++.
struct Request {
  enum class Action : uint8_t { enable, disable };
  std::string id = {};  ///< by which the asker finds the answer; empty: nobody waits for one
  Action action = Action::enable;
  std::vector<Switch> switches = {};  ///< disable: empty means all
  std::vector<int> ranks = {};        ///< enable: ascending, empty means all
  std::optional<int64_t> steps =
      {};  ///< enable: off again after so many; nothing: when it is disabled, profilers after 10
  int64_t every_steps = 1;  ///< enable: tools that read whole tensors look at every n-th step
  std::string origin = {};  ///< "command line", "configuration", "rule: ...": for the log

  bool operator==(const Request&) const = default;
};

/// One line of JSON; parse_request() reads it back to an equal request.
[[nodiscard]] std::string to_text(const Request& request);

/// Strict: an unknown key or switch, a number out of range or of another type, or an enable without
/// a switch is an Error of kind `usage` that names the key and the nearest name.
[[nodiscard]] Request parse_request(std::string_view text);

/// Several requests as one text, from rank 0 to the others.
[[nodiscard]] std::string to_lines(std::span<const Request> requests);
[[nodiscard]] std::vector<Request> parse_lines(std::string_view lines);

/// The switches of these names, each once; an unknown one is an Error of this kind with the nearest
/// name.
[[nodiscard]] std::vector<Switch> switches_named(const std::vector<std::string>& names,
                                                 ErrorKind kind);

/// Error of this kind if the request names a rank that a run of so many ranks does not have.
void check_ranks(const Request& request, int ranks, ErrorKind kind);

/// "all ranks", "rank 3", "ranks 3 and 5"
[[nodiscard]] std::string ranks_text(std::span<const int> ranks);

}  // namespace trireme::debug

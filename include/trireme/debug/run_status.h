#pragma once

#include <trireme/debug/request.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::debug {

/// What control/debug.status.json says of a run.
struct RunStatus {
  struct On {
    std::string name;        ///< of the switch
    std::vector<int> ranks;  ///< empty: all
    int64_t since_step = 0;
    std::optional<int64_t> until_step;
    int64_t every_steps = 1;
    std::string origin;
    std::map<std::string, std::string> failed_ranks;  ///< rank: why
  };
  /// Off now, since it failed, or after it had.
  struct Failed {
    std::string name;
    int64_t since_step = 0;                    ///< when it was on
    std::map<std::string, std::string> ranks;  ///< rank: why
  };
  int64_t attempt = 0;
  int64_t step = -1;  ///< -1: not known
  bool running = false;
  std::vector<On> switches;
  std::vector<Failed> failed;

  [[nodiscard]] const On* find(std::string_view name) const;
};

/// What is missing is as if nothing were on. Error of kind `environment` if the text is no status
/// or one of a schema that this version does not know.
[[nodiscard]] RunStatus parse_status(std::string_view text);

/// Why nothing can be on whatever the status says: the run has ended, or the status is that of an
/// attempt before `attempt`, the run's last one. Empty if the status counts.
[[nodiscard]] std::string why_nothing_is_on(const RunStatus& status, int64_t attempt);

}  // namespace trireme::debug

#pragma once

#include <array>
#include <csignal>
#include <filesystem>

namespace trireme::guard {

/// What someone outside asked of the run since the last look.
struct Requests {
  bool stop = false;  ///< save and leave with code 75
  bool save = false;
  int signal = 0;  ///< that asked to stop, 0 if none did
};

/// Catches SIGUSR1, SIGTERM, SIGINT and SIGHUP while it lives; each asks the run to stop (SIGHUP
/// not under nohup). A second SIGINT ends the process as if nobody caught it. The handlers only set
/// flags. SIGPIPE is ignored: a reader of the output that went away is no reason to lose a run. One
/// at a time per process; every rank has one, and the ranks agree later.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal that asked first, or 0. Stays until the end: a request to stop is not taken back.
  [[nodiscard]] int received() const;

 private:
  static constexpr std::array<int, 4> caught_{SIGUSR1, SIGTERM, SIGINT, SIGHUP};
  std::array<struct sigaction, 4> before_{};
  struct sigaction pipe_before_ {};
};

/// The files `control/stop` and `control/save` of the run folder. Only rank 0 looks. Looking
/// removes them, so that the resumed run is not stopped by the same file again.
[[nodiscard]] Requests take_control_files(const std::filesystem::path& control);

}  // namespace trireme::guard

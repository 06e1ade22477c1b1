#pragma once

#include <trireme/debug/request.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace trireme::debug {

/// control/debug/<id>.json of a run folder, one request each, and the answers in
/// control/debug.status.json.
struct ControlPaths {
  std::filesystem::path control;  ///< RunPaths::control()

  [[nodiscard]] std::filesystem::path requests() const { return control / "debug"; }
  [[nodiscard]] std::filesystem::path status() const { return control / "debug.status.json"; }
};

/// Rank 0's end. Nothing here throws at the run: what fails is a warning, and an answer where
/// somebody waits.
class ControlFolder {
 public:
  explicit ControlFolder(ControlPaths paths) : paths_(std::move(paths)) {}

  /// The requests that lie there, in the order of their names, whose files it removes. One that
  /// cannot be read is answered with an error under its id by the next write_status(), and not
  /// among them. One system call where nothing lies there.
  [[nodiscard]] std::vector<Request> take();
  /// Whether take() refused something that no status tells yet.
  [[nodiscard]] bool has_refusals() const { return untold_; }

  /// Puts the status in place at once: `status` is Debugger::status_json(), to which come schema,
  /// attempt, time (seconds since 1970), running and the refusals. Call it after requests were
  /// applied or refused, after something expired, at the start, and with running = false at the
  /// end.
  void write_status(std::string_view status, int64_t attempt, bool running);

 private:
  void refuse(const std::string& id, const std::string& why);

  ControlPaths paths_;
  std::vector<std::pair<std::string, std::string>> refusals_;
  std::set<std::filesystem::path> stuck_;  // files that could not be removed: obeyed once
  bool untold_ = false;
  bool warned_ = false;
};

// The asker's end.

/// Puts the request, under a new id that is later in order than those before, and returns the id.
/// Error of kind `storage` if it cannot be written.
[[nodiscard]] std::string submit(const ControlPaths& paths, Request request);

struct Answer {
  bool accepted = false;
  std::string text;
};
/// The run's status as JSON text; nothing if there is none, or none that can be read.
[[nodiscard]] std::optional<std::string> read_status(const ControlPaths& paths);
[[nodiscard]] std::optional<Answer> read_answer(const ControlPaths& paths, const std::string& id);

/// Waits until the answer is there; nothing if `timeout` passes before or `alive`, which is asked
/// several times a second, says no.
[[nodiscard]] std::optional<Answer> wait_for_answer(const ControlPaths& paths,
                                                    const std::string& id,
                                                    std::chrono::milliseconds timeout,
                                                    const std::function<bool()>& alive);

}  // namespace trireme::debug

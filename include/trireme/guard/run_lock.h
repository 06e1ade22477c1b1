#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace trireme::guard {

/// Who holds a run folder, as run.lock says it.
struct LockOwner {
  std::string job;      ///< of the scheduler, empty outside one
  int64_t restart = 0;  ///< how often the scheduler has requeued the job
  std::string host;
  int64_t pid = 0;
  uint64_t start =
      0;  ///< of the process in clock ticks since boot: tells a reused pid apart; 0 if unknown
  std::string
      pid_scope;  ///< boot and pid namespace in which `pid` means something; empty if unknown
  double heartbeat = 0;  ///< seconds since 1970
};

/// A holder on another machine whose heartbeat is younger is taken to live.
constexpr double fresh_heartbeat_seconds = 60;

/// This process as the holder of a lock, now.
[[nodiscard]] LockOwner this_process();
/// When the process `pid` started (clock ticks since boot); 0 if it does not exist or only waits to
/// be reaped.
[[nodiscard]] uint64_t process_start(int64_t pid);

[[nodiscard]] std::string lock_text(const LockOwner& owner);
/// Nothing if the text is no lock; fields that are absent keep their defaults.
[[nodiscard]] std::optional<LockOwner> parse_lock(std::string_view text);

struct LockVerdict {
  bool live = false;
  std::string why;
};
/// Whether `owner` still runs, seen by `self`. `start_here`: process_start(owner.pid) on this
/// machine.
[[nodiscard]] LockVerdict judge_lock(const LockOwner& owner, const LockOwner& self,
                                     uint64_t start_here);

/// A run.lock as this process sees it now.
struct LockSeen {
  bool there = false;
  std::optional<LockOwner> owner = {};  ///< none: just being written, or damaged
  LockVerdict verdict = {};             ///< on the owner
};
/// What cannot be read is not there.
[[nodiscard]] LockSeen see_lock(const std::filesystem::path& file);

/// Holds run.dir/run.lock while it lives, so that two jobs never write the same run folder. Only
/// rank 0 has one; the caller tells the other ranks the outcome. A small thread refreshes the
/// heartbeat; the destructor removes the file if it is still ours.
class RunLock {
 public:
  /// Throws kind `environment`, naming job, host and pid, if a live process holds the folder (which
  /// must exist), and kind `storage` if the file cannot be written. A stale lock is taken over with
  /// a line in the log.
  explicit RunLock(const std::filesystem::path& run_dir,
                   std::chrono::seconds beat_every = std::chrono::seconds(15));
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// Writes a new heartbeat now; what the thread does from time to time.
  void beat();
  /// Someone else took the lock (this process slept too long): the run must not write any more.
  [[nodiscard]] bool lost() const { return lost_; }

 private:
  void beat_until_stopped(std::chrono::seconds every);

  std::filesystem::path file_;
  LockOwner self_;
  std::atomic<bool> lost_{false};
  bool warned_ = false;
  std::mutex guard_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::mutex writing_;
  std::thread thread_;
};

}  // namespace trireme::guard

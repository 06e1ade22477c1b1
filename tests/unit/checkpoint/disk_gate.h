#pragma once

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <string>

namespace trireme::test {

/// While one lives, who opens a file below a folder waits: a disk that is slow without end. Works
/// by what recorded_disk.h puts in front of libc's functions. One at a time.
class DiskGate {
 public:
  explicit DiskGate(const std::filesystem::path& folder) { set(folder.native() + "/"); }
  ~DiskGate() { set({}); }
  DiskGate(const DiskGate&) = delete;
  DiskGate& operator=(const DiskGate&) = delete;

  static void pass(const std::string& path) {
    std::unique_lock lock(mutex_);
    opened_.wait(lock, [&] { return closed_.empty() || !path.starts_with(closed_); });
  }

 private:
  static void set(const std::string& closed) {
    {
      const std::lock_guard lock(mutex_);
      closed_ = closed;
    }
    opened_.notify_all();
  }

  static inline std::mutex mutex_;
  static inline std::condition_variable opened_;
  static inline std::string closed_;
};

}  // namespace trireme::test

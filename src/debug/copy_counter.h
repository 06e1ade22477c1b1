#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include <ATen/record_function.h>

namespace trireme::debug {

/// Counts what the thread that made it copies between devices, and how often it reads a value of
/// another device than the CPU, which waits for that device; not what is done in a SideScope. What
/// LibTorch's threads do for it, as in backward on devices, is counted where it is the process's
/// only counter. Every operation costs some microseconds meanwhile. Destroy on the same thread; one
/// at a time.
class CopyCounter {
 public:
  struct Copies {
    int64_t copies = 0, bytes = 0;
  };
  CopyCounter();
  ~CopyCounter();
  CopyCounter(const CopyCounter&) = delete;
  CopyCounter& operator=(const CopyCounter&) = delete;

  /// By (from, to).
  [[nodiscard]] const std::map<std::pair<std::string, std::string>, Copies>& copies() const {
    return copies_;
  }
  [[nodiscard]] int64_t host_reads() const { return host_reads_; }

 private:
  static std::unique_ptr<at::ObserverContext> look(const at::RecordFunction& function);
  void count(const at::RecordFunction& function);
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, Copies> copies_;
  int64_t host_reads_ = 0;
  at::CallbackHandle handle_;
};

}  // namespace trireme::debug

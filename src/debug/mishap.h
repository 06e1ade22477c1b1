#pragma once

#include "debug/side_scope.h"

#include <exception>
#include <mutex>
#include <utility>

namespace trireme::debug {

/// Keeps what a tool throws inside of forward or backward away from the run, until the tool can
/// throw it where only the tool is switched off.
class Mishap {
 public:
  /// Calls `look` in a SideScope; after the first failure nothing more is called.
  template <class Look>
  void guard(Look&& look) noexcept {
    {
      const std::lock_guard lock(mutex_);
      if (failure_ || closed_) return;
    }
    try {
      const SideScope aside;
      std::forward<Look>(look)();
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
  }
  /// Nothing more is called from now on.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void rethrow() {
    std::exception_ptr failure;
    {
      const std::lock_guard lock(mutex_);
      failure = failure_;
    }
    if (failure) std::rethrow_exception(failure);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
  bool closed_ = false;
};

}  // namespace trireme::debug

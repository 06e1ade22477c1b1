#pragma once

#include <c10/core/DispatchKeySet.h>
#include <c10/core/GradMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

namespace trireme::debug {

/// What a tool computes while it lives leaves no trace in the computation that it looks at: no
/// graph, no casts of autocast and none in its cache. What it does is not counted as the run's.
class SideScope {
 public:
  SideScope() : no_autocast_(c10::autocast_dispatch_keyset) { ++here_; }
  ~SideScope() { --here_; }
  SideScope(const SideScope&) = delete;
  SideScope& operator=(const SideScope&) = delete;

  /// Whether this thread is in one.
  [[nodiscard]] static bool entered() { return here_ > 0; }

 private:
  static inline thread_local int here_ = 0;
  at::NoGradGuard no_grad_;
  c10::impl::ExcludeDispatchKeyGuard no_autocast_;
};

}  // namespace trireme::debug

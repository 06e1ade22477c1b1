#pragma once

#include <trireme/core/error.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace trireme::comm {

/// A failure as all ranks come to know it.
struct Failure {
  ErrorKind kind = ErrorKind::unexpected;
  int rank = -1;  ///< the rank it happened on (for peer_lost: the rank that was lost)
  std::string host;
  long step = -1;
  std::string message;
  std::string hint;
};

/// What must work when the collectives are stuck: a rank's error reaches all others within two
/// seconds, and a rank whose process ended without saying goodbye is noticed at once (its
/// connection closes). The first failure that reaches rank 0 wins and becomes the verdict of all
/// ranks; if rank 0 itself is lost every survivor concludes that by itself.
class SideChannel {
 public:
  virtual ~SideChannel();

  /// Called once, from the channel's thread, when the verdict is known here: poisons communicators,
  /// wakes waiters.
  virtual void on_failure(std::function<void(const Failure&)> handler) = 0;
  /// Reports a failure of this rank. Does not block; never throws.
  virtual void report(const Failure& failure) noexcept = 0;
  /// The agreed failure, or nothing. Waits up to `seconds` for one.
  [[nodiscard]] virtual std::optional<Failure> verdict(double seconds) = 0;
  /// The lowest rank that is known to live: it writes exit.json for all.
  [[nodiscard]] virtual int first_survivor() const = 0;
  /// After exit.json was written (by the first survivor) or after `seconds`: returns on all ranks,
  /// so that they leave together.
  virtual void leave_together(bool wrote, double seconds) noexcept = 0;
  /// Orderly goodbye: closing the connection afterwards is no failure.
  virtual void goodbye() noexcept = 0;
};

}  // namespace trireme::comm

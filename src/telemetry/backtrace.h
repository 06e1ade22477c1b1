#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace trireme::telemetry {

/// Writes the return addresses of the calling thread's frames, innermost first, without the first
/// `skip` of the caller's; returns how many, at most `room`. Microseconds. The first call of a
/// process is slow.
size_t capture_backtrace(int64_t* to, size_t room, size_t skip);

/// Turns addresses into names; each is looked up once.
class Symbols {
 public:
  /// "trireme::model::forward(...)", or "libx.so+0x1234" where the symbol is not known.
  [[nodiscard]] const std::string& name(int64_t address);
  /// A line a frame.
  [[nodiscard]] std::string text(std::span<const int64_t> addresses);

 private:
  std::map<int64_t, std::string> names_;
};

}  // namespace trireme::telemetry

#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace trireme::debug {

/// Calls of units that are under way, within each other. `Call` has the unit's name as `unit`.
template <class Call>
class OpenCalls {
 public:
  void open(Call call) { calls_.push_back(std::move(call)); }
  /// The innermost call of the unit; nothing if its beginning was not seen. Calls within it that
  /// are still open have thrown and been made again: they are forgotten.
  [[nodiscard]] std::optional<Call> close(const std::string& unit) {
    while (!calls_.empty() && calls_.back().unit != unit) calls_.pop_back();
    if (calls_.empty()) return std::nullopt;
    Call call = std::move(calls_.back());
    calls_.pop_back();
    return call;
  }
  void clear() { calls_.clear(); }

 private:
  std::vector<Call> calls_;
};

}  // namespace trireme::debug

#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace trireme::debug {

/// Lets the same subject through once in 100 steps. The journal does it for equal texts; most texts
/// here have numbers in them.
class Seldom {
 public:
  [[nodiscard]] bool due(const std::string& subject, int64_t step) {
    const auto [last, first] = last_.try_emplace(subject, step);
    if (!first && step < last->second + every_steps) return false;
    last->second = step;
    return true;
  }

 private:
  static constexpr int64_t every_steps = 100;
  std::unordered_map<std::string, int64_t> last_;
};

}  // namespace trireme::debug

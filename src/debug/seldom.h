#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>

namespace trireme::debug {

/// Lets the same subject through once in 100 steps. The journal does so for equal texts; most texts
/// of tools have numbers in them. Of subjects without end it remembers the last few only.
class Seldom {
 public:
  [[nodiscard]] bool due(const std::string& subject, int64_t step) {
    const auto [last, added] = last_.try_emplace(subject, step);
    if (!added && step < last->second + every_steps) return false;
    last->second = step;
    if (last_.size() > most)
      std::erase_if(last_, [&](const auto& one) { return one.second + every_steps <= step; });
    if (last_.size() > most) last_ = {{subject, step}};
    return true;
  }

 private:
  static constexpr int64_t every_steps = 100;
  static constexpr size_t most = 1000;
  std::unordered_map<std::string, int64_t> last_;
};

}  // namespace trireme::debug

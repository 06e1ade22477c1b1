#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace trireme::cuda {

/// Of the bits of NVML's clock event reasons (nvmlClocksEventReason*) those in words that mean trouble. An idle GPU (0x01), clocks
/// that someone set (0x02, 0x10, 0x100) and the software's power cap (0x04), at which a busy GPU lives, do not.
[[nodiscard]] inline std::vector<std::string> throttle_reasons(unsigned long long bits) {
  static constexpr std::array<std::pair<unsigned long long, const char*>, 4> reasons{
      {{0x08, "hardware slowdown"}, {0x20, "too hot (software)"}, {0x40, "too hot (hardware)"}, {0x80, "power brake"}}};
  std::vector<std::string> words;
  for (const auto& [bit, word] : reasons)
    if ((bits & bit) != 0) words.emplace_back(word);
  return words;
}

}  // namespace trireme::cuda

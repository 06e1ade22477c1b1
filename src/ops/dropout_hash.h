#pragma once

#include <cstdint>

namespace trireme::ops {

/// 32 random bits for element i of a sample with a 64-bit seed: two rounds of 32-bit mixing, one
/// half of the seed going into each, so that the streams of two seeds are no shifts of one another.
/// 32-bit operations only: the loop over i is vectorised. Mixing: lowbias32 (C. Wellons,
/// "Prospecting for Hash Functions", 2018), then the finaliser of MurmurHash3 (A. Appleby).
class DropoutHash {
 public:
  explicit constexpr DropoutHash(uint64_t seed)
      : low_(static_cast<uint32_t>(seed)), high_(static_cast<uint32_t>(seed >> 32)) {}

  [[nodiscard]] constexpr uint32_t operator()(uint32_t i) const {
    uint32_t h = i * 0x9e3779b9U + low_;
    h = (h ^ (h >> 16)) * 0x7feb352dU;
    h = (h ^ (h >> 15)) * 0x846ca68bU;
    h = (h ^ (h >> 16)) ^ high_;
    h = (h ^ (h >> 16)) * 0x85ebca6bU;
    h = (h ^ (h >> 13)) * 0xc2b2ae35U;
    return h ^ (h >> 16);
  }

 private:
  uint32_t low_;
  uint32_t high_;
};

}  // namespace trireme::ops

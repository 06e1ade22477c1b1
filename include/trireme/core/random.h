#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace trireme::core {

/// A key of the counter-based random numbers. Randomness has no state here: a draw is a function of what it is for
/// (seed, purpose, step, sample, unit, ...), so recomputation, resume and another number of ranks see the same numbers.
class RandomKey {
 public:
  constexpr RandomKey() = default;
  explicit constexpr RandomKey(uint64_t seed) : value_(mix(seed)) {}

  /// The key of a purpose or a part below this one.
  [[nodiscard]] constexpr RandomKey fold(uint64_t part) const {
    return RandomKey(raw, mix(value_ ^ mix(part + 0x9e3779b97f4a7c15ULL)));
  }
  [[nodiscard]] RandomKey fold(std::string_view part) const;

  [[nodiscard]] constexpr uint64_t value() const { return value_; }
  /// 64 random bits for draw number `counter`.
  [[nodiscard]] constexpr uint64_t bits(uint64_t counter) const { return fold(counter).value(); }
  /// Uniform in [0, 1) with 53 bits.
  [[nodiscard]] constexpr double uniform(uint64_t counter) const {
    return static_cast<double>(bits(counter) >> 11) * 0x1.0p-53;
  }
  /// Uniform in [0, n), n > 0, by Lemire's multiply-shift (bias below n / 2^64).
  [[nodiscard]] constexpr uint64_t below(uint64_t n, uint64_t counter) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(counter)) * n) >> 64);
  }

 private:
  struct Raw {};
  static constexpr Raw raw{};
  constexpr RandomKey(Raw, uint64_t value) : value_(value) {}
  /// The finaliser of SplitMix64 (Steele, Lea, Flood 2014; constants by Stafford, variant 13).
  static constexpr uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
  }
  uint64_t value_ = 0;
};

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): four 32-bit words for a
/// 64-bit key and a 128-bit counter given as (block, stream).
[[nodiscard]] constexpr std::array<uint32_t, 4> philox(uint64_t key, uint64_t block, uint64_t stream) {
  uint32_t c0 = static_cast<uint32_t>(block), c1 = static_cast<uint32_t>(block >> 32);
  uint32_t c2 = static_cast<uint32_t>(stream), c3 = static_cast<uint32_t>(stream >> 32);
  uint32_t k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(0xD2511F53U) * c0;
    const uint64_t p1 = static_cast<uint64_t>(0xCD9E8D57U) * c2;
    const uint32_t n0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const uint32_t n2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<uint32_t>(p1);
    c3 = static_cast<uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  return {c0, c1, c2, c3};
}

}  // namespace trireme::core

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace trireme::data {

/// A bijection on [0, n) that is computed, not stored: an unbalanced Feistel network over the
/// smallest power of two that holds n, walked along its cycle until it lands in [0, n) (Black and
/// Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). Less than two walks on average.
/// Not cryptographic. Ten rounds as FF1 has (NIST SP 800-38G), and 32 below 2^16, where ten are
/// measurably uneven: with five elements the 120 orders need more than 20 to be equally likely.
class Permutation {
 public:
  /// `n` > 0. Equal arguments give equal permutations on every machine.
  Permutation(uint64_t seed, int64_t epoch, int64_t n);

  /// Where position k of [0, n) goes.
  [[nodiscard]] int64_t operator()(int64_t k) const;

 private:
  static constexpr size_t most_rounds = 32;
  [[nodiscard]] uint64_t encrypt(uint64_t value) const;

  uint64_t n_;
  int right_bits_;
  uint64_t left_mask_;
  uint64_t right_mask_;
  size_t rounds_;
  std::array<uint64_t, most_rounds> keys_{};
};

}  // namespace trireme::data

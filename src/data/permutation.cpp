#include "data/permutation.h"

#include <trireme/core/error.h>
#include <trireme/core/random.h>

#include <bit>

namespace trireme::data {
namespace {

// The round function: the 64-bit finaliser of MurmurHash3 (Appleby, public domain) of key and half.
constexpr uint64_t mix(uint64_t key, uint64_t half) {
  uint64_t x = key ^ (half * 0x9e3779b97f4a7c15ULL);
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdULL;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

}  // namespace

Permutation::Permutation(uint64_t seed, int64_t epoch, int64_t n) : n_(static_cast<uint64_t>(n)) {
  check(n > 0, "a permutation needs at least one element");
  const int bits = static_cast<int>(std::bit_width(n_ - 1));
  const int left_bits = bits / 2;
  right_bits_ = bits - left_bits;
  left_mask_ = (uint64_t{1} << left_bits) - 1;
  right_mask_ = (uint64_t{1} << right_bits_) - 1;
  const core::RandomKey key =
      core::RandomKey(seed).fold("permute").fold(static_cast<uint64_t>(epoch));
  rounds_ = bits > 16 ? 10 : most_rounds;
  for (size_t round = 0; round < rounds_; ++round) keys_[round] = key.bits(round);
}

uint64_t Permutation::encrypt(uint64_t value) const {
  uint64_t left = value >> right_bits_;
  uint64_t right = value & right_mask_;
  for (size_t round = 0; round < rounds_; round += 2) {
    left ^= mix(keys_[round], right) & left_mask_;
    right ^= mix(keys_[round + 1], left) & right_mask_;
  }
  return (left << right_bits_) | right;
}

int64_t Permutation::operator()(int64_t k) const {
  uint64_t value = static_cast<uint64_t>(k);
  check(value < n_, "position outside of the permutation");
  do value = encrypt(value);
  while (value >= n_);
  return static_cast<int64_t>(value);
}

}  // namespace trireme::data

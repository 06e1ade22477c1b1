#pragma once

#include <cstdint>

#include <torch/headeronly/macros/Macros.h>
#include <torch/headeronly/util/bit_cast.h>

namespace trireme::ops {

/// Elements are numbered within blocks of so many: the numbers are 32-bit counters, which are
/// hashed fast, and a block's seed comes from a 64-bit key (core::RandomKey::bits of the block's
/// number).
inline constexpr int64_t rounding_block = 65536;

/// 16 random bits: the multiplications and shifts of Wellons' hash "lowbias32" (2018), with half of
/// the seed before and half within, so that two blocks agree only where 64 bits do.
C10_HOST_DEVICE inline uint32_t rounding_bits(uint32_t counter, uint32_t before, uint32_t within) {
  uint32_t x = counter ^ before;
  x = (x ^ (x >> 16)) * 0x7feb352dU ^ within;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x >> 16;
}

/// The bfloat16 below the value in magnitude, or the one above with the probability that makes the
/// expectation the value. What bfloat16 can hold stays as it is, infinities and NaN too.
C10_HOST_DEVICE inline uint16_t round_stochastically(float value, uint32_t random_bits) {
  const auto bits = c10::bit_cast<uint32_t>(value);
  const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
  const uint32_t added = bits + random_bits;
  return static_cast<uint16_t>((nan ? bits | 0x400000U : added) >> 16);
}

}  // namespace trireme::ops

#include "optim/stochastic_rounding.h"

#include <algorithm>
#include <bit>

namespace trireme::optim {

namespace {

// Numbers within a block are 32-bit counters, which CPUs hash in vectors; the block's seed comes
// from the 64-bit key.
constexpr int64_t block_elements = 65536;

// 16 random bits: the multiplications and shifts of Wellons' hash "lowbias32" (2018), with half of
// the seed before and half within, so that two blocks agree only where 64 bits do.
uint32_t random_bits(uint32_t counter, uint32_t before, uint32_t within) {
  uint32_t x = counter ^ before;
  x = (x ^ (x >> 16)) * 0x7feb352dU ^ within;
  x = (x ^ (x >> 15)) * 0x846ca68bU;
  return x >> 16;
}

void round_in_block(uint64_t seed, uint32_t first, const float* __restrict from,
                    uint16_t* __restrict to, int32_t elements) {
  const auto before = static_cast<uint32_t>(seed), within = static_cast<uint32_t>(seed >> 32);
#pragma omp simd
  for (int32_t i = 0; i < elements; ++i) {
    const auto bits = std::bit_cast<uint32_t>(from[i]);
    const bool nan = (bits & 0x7fffffffU) > 0x7f800000U;
    const uint32_t added = bits + random_bits(first + static_cast<uint32_t>(i), before, within);
    to[i] = static_cast<uint16_t>((nan ? bits | 0x400000U : added) >> 16);
  }
}

}  // namespace

void widen(const uint16_t* __restrict from, float* __restrict to, int64_t elements) {
#pragma omp simd
  for (int64_t i = 0; i < elements; ++i)
    to[i] = std::bit_cast<float>(static_cast<uint32_t>(from[i]) << 16);
}

void round_stochastically(core::RandomKey key, int64_t first, const float* from, uint16_t* to,
                          int64_t elements) {
  for (int64_t done = 0; done < elements;) {
    const int64_t block = (first + done) / block_elements, inside = (first + done) % block_elements;
    const int64_t now = std::min(elements - done, block_elements - inside);
    round_in_block(key.bits(static_cast<uint64_t>(block)), static_cast<uint32_t>(inside),
                   from + done, to + done, static_cast<int32_t>(now));
    done += now;
  }
}

}  // namespace trireme::optim

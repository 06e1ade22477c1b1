#include "optim/stochastic_rounding.h"

#include "ops/stochastic_rounding.h"

#include <algorithm>
#include <bit>

namespace trireme::optim {

namespace {

void round_in_block(uint64_t seed, uint32_t first, const float* __restrict from,
                    uint16_t* __restrict to, int32_t elements) {
  const auto before = static_cast<uint32_t>(seed), within = static_cast<uint32_t>(seed >> 32);
#pragma omp simd
  for (int32_t i = 0; i < elements; ++i) {
    const uint32_t bits = ops::rounding_bits(first + static_cast<uint32_t>(i), before, within);
    to[i] = ops::round_stochastically(from[i], bits);
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
    const int64_t block = (first + done) / ops::rounding_block,
                  inside = (first + done) % ops::rounding_block;
    const int64_t now = std::min(elements - done, ops::rounding_block - inside);
    round_in_block(key.bits(static_cast<uint64_t>(block)), static_cast<uint32_t>(inside),
                   from + done, to + done, static_cast<int32_t>(now));
    done += now;
  }
}

}  // namespace trireme::optim

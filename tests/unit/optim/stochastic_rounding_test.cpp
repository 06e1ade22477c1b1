#include "optim/stochastic_rounding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace trireme::optim {
namespace {

float wide(uint16_t x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x) << 16);
}

std::vector<uint16_t> rounded(const std::vector<float>& values, uint64_t key = 1,
                              int64_t first = 0) {
  std::vector<uint16_t> to(values.size());
  round_stochastically(core::RandomKey(key), first, values.data(), to.data(),
                       static_cast<int64_t>(values.size()));
  return to;
}

TEST(StochasticRounding, WideningIsExact) {
  std::vector<uint16_t> all(1 << 16);
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<uint16_t>(i);
  std::vector<float> floats(all.size());
  widen(all.data(), floats.data(), static_cast<int64_t>(all.size()));
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(std::bit_cast<uint32_t>(floats[i]), static_cast<uint32_t>(i) << 16);
}

TEST(StochasticRounding, EveryBfloat16StaysAsItIs) {
  std::vector<float> values;
  for (uint32_t x = 0; x < 1 << 16; ++x) values.push_back(wide(static_cast<uint16_t>(x)));
  for (const uint64_t key : {1, 2, 3}) {
    const std::vector<uint16_t> got = rounded(values, key);
    for (size_t x = 0; x < values.size(); ++x) {
      if (std::isnan(values[x]))
        EXPECT_TRUE(std::isnan(wide(got[x]))) << x;
      else
        EXPECT_EQ(got[x], x);
    }
  }
}

TEST(StochasticRounding, NotANumberStaysSoWhateverItsPayload) {
  std::vector<float> values;
  for (const uint32_t bits : {0x7f800001U, 0x7f80ffffU, 0x7fffffffU, 0xff800001U, 0xffffffffU})
    values.push_back(std::bit_cast<float>(bits));
  for (uint64_t key = 0; key < 50; ++key)
    for (const uint16_t x : rounded(values, key)) EXPECT_TRUE(std::isnan(wide(x)));
}

TEST(StochasticRounding, GivesOneOfTheTwoNeighbours) {
  std::vector<float> values;
  for (uint64_t i = 0; i < 100000; ++i) {  // of all exponents and both signs, subnormal ones too
    const float x = std::bit_cast<float>(static_cast<uint32_t>(core::RandomKey(5).bits(i)));
    if (std::isfinite(x)) values.push_back(x);
  }
  const std::vector<uint16_t> got = rounded(values);
  for (size_t i = 0; i < values.size(); ++i) {
    const auto below = static_cast<uint16_t>(std::bit_cast<uint32_t>(values[i]) >> 16);
    EXPECT_TRUE(got[i] == below || got[i] == below + 1) << values[i];
  }
}

// Far from 1 and 2, where the spacing is 2^-7: 65536 values of each fraction of it.
TEST(StochasticRounding, TheExpectationIsTheValue) {
  constexpr int draws = 1 << 16;
  for (const double fraction : {1.0 / 65536, 0.01, 0.25, 0.5, 0.9, 65535.0 / 65536}) {
    for (const float sign : {1.0F, -1.0F}) {
      const auto value = static_cast<float>(1.25 + std::round(fraction * 65536) * 0x1p-23);
      const std::vector<uint16_t> got =
          rounded(std::vector<float>(draws, sign * value), static_cast<uint64_t>(fraction * 1000));
      double error = 0.0;
      for (const uint16_t x : got) error += (static_cast<double>(wide(x)) * sign - value) * 0x1p7;
      // Five standard deviations of a mean of independent draws.
      EXPECT_LT(std::abs(error / draws), 5 * std::sqrt(fraction * (1 - fraction) / draws))
          << fraction;
    }
  }
}

// The same element in many updates, as training sees it: what is lost once must come back later.
TEST(StochasticRounding, KeysDrawIndependently) {
  constexpr int keys = 4096, elements = 64;
  std::vector<int> ups(elements);
  int pairs = 0;
  for (uint64_t key = 0; key < keys; ++key) {
    const std::vector<uint16_t> got =
        rounded(std::vector<float>(elements, 1.00390625F), key);  // half-way
    for (size_t i = 0; i < got.size(); ++i) {
      ups[i] += got[i] & 1;
      if (i > 0) pairs += (got[i] & 1) == (got[i - 1] & 1);
    }
  }
  for (const int up : ups) EXPECT_NEAR(up, keys / 2, 5 * std::sqrt(keys) / 2);
  const double all = static_cast<double>(keys) * (elements - 1);
  EXPECT_NEAR(pairs, all / 2, 5 * std::sqrt(all) / 2);
}

TEST(StochasticRounding, ARunInPiecesIsTheWholeRun) {
  std::vector<float> values;
  for (int i = 0; i < 150000; ++i) values.push_back(1.0F + static_cast<float>(i) * 1e-6F);
  constexpr int64_t start = 50000;  // its block and the two after it
  const std::vector<uint16_t> whole = rounded(values, 7, start);
  for (const size_t cut : {1, 15536, 15537, 81072, 100001}) {
    std::vector<uint16_t> parts =
        rounded({values.begin(), values.begin() + static_cast<long>(cut)}, 7, start);
    const std::vector<uint16_t> rest =
        rounded({values.begin() + static_cast<long>(cut), values.end()}, 7,
                start + static_cast<int64_t>(cut));
    parts.insert(parts.end(), rest.begin(), rest.end());
    EXPECT_EQ(parts, whole) << cut;
  }
  EXPECT_NE(rounded(values, 8, start), whole);
  EXPECT_NE(rounded(values, 7, start + 1), whole);
}

TEST(StochasticRounding, BitsDifferBeyondTheCountersOf32Bits) {
  const std::vector<float> values(1000, 1.00390625F);
  EXPECT_NE(rounded(values, 1, 0), rounded(values, 1, int64_t{1} << 32));
}

}  // namespace
}  // namespace trireme::optim

#include "comm/reduction.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <ATen/ATen.h>

#include <gtest/gtest.h>

namespace trireme::comm {
namespace {

std::vector<uint16_t> reduce(at::ScalarType dtype, ReduceOp op,
                             const std::vector<std::vector<uint16_t>>& inputs) {
  std::vector<uint16_t> out(inputs[0].size());
  std::vector<const std::byte*> pointers;
  for (const auto& input : inputs)
    pointers.push_back(reinterpret_cast<const std::byte*>(input.data()));
  Reduction(dtype, op)(reinterpret_cast<std::byte*>(out.data()), pointers, out.size());
  return out;
}

std::vector<uint16_t> every_pattern() {
  std::vector<uint16_t> bits(65536);
  for (std::size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  return bits;
}

float value(at::ScalarType dtype, uint16_t bits) {
  return dtype == at::kHalf ? static_cast<float>(c10::Half(bits, c10::Half::from_bits()))
                            : static_cast<float>(c10::BFloat16(bits, c10::BFloat16::from_bits()));
}
uint16_t rounded(at::ScalarType dtype, float number) {
  return dtype == at::kHalf ? c10::Half(number).x : c10::BFloat16(number).x;
}

TEST(Reduction, of_one_input_copies_every_half_value) {
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const auto in = every_pattern();
    const auto out = reduce(dtype, ReduceOp::sum, {in});
    for (std::size_t i = 0; i < in.size(); ++i) {
      if (std::isnan(value(dtype, in[i])))
        EXPECT_TRUE(std::isnan(value(dtype, out[i]))) << i;
      else
        EXPECT_EQ(out[i], in[i]) << dtype << " " << i;
    }
  }
}

TEST(Reduction, adds_every_half_value_in_float32_and_rounds_once) {
  for (const auto dtype : {at::kHalf, at::kBFloat16})
    for (const float addend : {1.0f, -0.37f, 1e-7f, 30000.0f}) {
      const auto a = every_pattern();
      const std::vector<uint16_t> b(a.size(), rounded(dtype, addend));
      const std::vector<uint16_t> c(a.size(), rounded(dtype, 1e-3f));
      const auto out = reduce(dtype, ReduceOp::sum, {a, b, c});
      for (std::size_t i = 0; i < a.size(); ++i) {
        const float sum = value(dtype, a[i]) + value(dtype, b[i]) + value(dtype, c[i]);
        if (std::isnan(sum))
          ASSERT_TRUE(std::isnan(value(dtype, out[i]))) << i;
        else
          ASSERT_EQ(out[i], rounded(dtype, sum)) << dtype << " " << i << " + " << addend;
      }
    }
}

TEST(Reduction, gives_an_element_the_same_bits_at_every_place) {
  // Vector loops, their remainders and block borders must agree, for NaN too.
  constexpr std::size_t count = 4099;
  for (const auto dtype : {at::kHalf, at::kBFloat16}) {
    const std::vector<uint16_t> nan(count, 0x7fff), odd(count, 0x3555), tiny(count, 0x0003);
    for (const auto& inputs : {std::vector{nan, odd}, std::vector{odd, tiny, odd}}) {
      const auto out = reduce(dtype, ReduceOp::sum, inputs);
      for (std::size_t i = 1; i < count; ++i) ASSERT_EQ(out[i], out[0]) << dtype << " " << i;
    }
  }
}

TEST(Reduction, may_write_over_any_of_its_inputs) {
  for (std::size_t alias = 0; alias < 3; ++alias) {
    std::vector<std::vector<double>> inputs(3, std::vector<double>(5000));
    for (std::size_t r = 0; r < 3; ++r)
      for (std::size_t i = 0; i < 5000; ++i) inputs[r][i] = 0.1 * double(i + r);
    std::vector<double> expected(5000);
    for (std::size_t i = 0; i < 5000; ++i) expected[i] = inputs[0][i] + inputs[1][i] + inputs[2][i];
    std::vector<const std::byte*> pointers;
    for (const auto& input : inputs)
      pointers.push_back(reinterpret_cast<const std::byte*>(input.data()));
    Reduction(at::kDouble, ReduceOp::sum)(reinterpret_cast<std::byte*>(inputs[alias].data()),
                                          pointers, 5000);
    EXPECT_EQ(inputs[alias], expected) << alias;
  }
}

TEST(Reduction, of_integers_is_exact_and_wraps) {
  const std::vector<int64_t> a{(int64_t{1} << 53) + 1, std::numeric_limits<int64_t>::max()};
  const std::vector<int64_t> b{2, 1};
  std::vector<int64_t> out(2);
  const std::vector<const std::byte*> pointers{reinterpret_cast<const std::byte*>(a.data()),
                                               reinterpret_cast<const std::byte*>(b.data())};
  Reduction(at::kLong, ReduceOp::sum)(reinterpret_cast<std::byte*>(out.data()), pointers, 2);
  EXPECT_EQ(out[0], (int64_t{1} << 53) + 3);
  EXPECT_EQ(out[1], std::numeric_limits<int64_t>::min());
}

TEST(Reduction, refuses_types_that_are_only_moved) {
  EXPECT_THROW(Reduction(at::kByte, ReduceOp::sum), Error);
}

}  // namespace
}  // namespace trireme::comm

#include "autograd/block_int8.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

namespace trireme::autograd {

namespace {

constexpr int64_t grain = 128;  // blocks that make a task worth another thread
constexpr float largest_integer = 127.0F;
// Below it the quotients would overflow; such blocks count as zero.
constexpr float smallest = 1e-30F;
// 1.5 * 2^23: floats of this size have no fraction, so adding it rounds to the nearest integer.
constexpr float rounder = 12582912.0F;

int64_t blocks_of(int64_t n) {
  return (n + int8_block - 1) / int8_block;
}

float block_to_int8(const float* from, int64_t n, int8_t* to) {
  float largest = 0, poison = 0;  // 0 * x is NaN where x is not finite
  for (int64_t i = 0; i < n; ++i) {
    const float magnitude = std::fabs(from[i]);
    largest = magnitude > largest ? magnitude : largest;
    poison += from[i] * 0.0F;
  }
  const bool finite = poison == 0.0F;
  if (!finite || largest < smallest) {
    std::fill(to, to + n, int8_t{0});
    return finite ? 0.0F : std::numeric_limits<float>::quiet_NaN();
  }
  const float factor = largest_integer / largest;
  for (int64_t i = 0; i < n; ++i)
    to[i] = static_cast<int8_t>(static_cast<int>((from[i] * factor + rounder) - rounder));
  return largest / largest_integer;
}

at::Tensor in_blocks(const at::Tensor& values_n) {
  const int64_t missing = blocks_of(values_n.numel()) * int8_block - values_n.numel();
  return at::constant_pad_nd(values_n, {0, missing}).view({-1, int8_block});
}

}  // namespace

BlockInt8 to_int8(const at::Tensor& values_n) {
  if (!values_n.is_cpu()) return reference::to_int8(values_n);
  const int64_t n = values_n.numel();
  BlockInt8 made{at::empty({n}, values_n.options().dtype(at::kChar)),
                 at::empty({blocks_of(n)}, values_n.options())};
  const auto* from = values_n.const_data_ptr<float>();
  auto* to = made.integers.mutable_data_ptr<int8_t>();
  auto* scales = made.scales.mutable_data_ptr<float>();
  at::parallel_for(0, blocks_of(n), grain, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t begin = b * int8_block;
      scales[b] = block_to_int8(from + begin, std::min(int8_block, n - begin), to + begin);
    }
  });
  return made;
}

void from_int8(const BlockInt8& stored, const at::Tensor& values_n) {
  if (!values_n.is_cpu()) return reference::from_int8(stored, values_n);
  const int64_t n = values_n.numel();
  const auto* from = stored.integers.const_data_ptr<int8_t>();
  const auto* scales = stored.scales.const_data_ptr<float>();
  auto* to = values_n.mutable_data_ptr<float>();
  at::parallel_for(0, blocks_of(n), grain, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t end = std::min(n, (b + 1) * int8_block);
      for (int64_t i = b * int8_block; i < end; ++i)
        to[i] = static_cast<float>(from[i]) * scales[b];
    }
  });
}

namespace reference {

BlockInt8 to_int8(const at::Tensor& values_n) {
  const at::Tensor blocks = in_blocks(values_n);
  const at::Tensor largest = blocks.abs().amax(1, true);  // NaN if there is one
  at::Tensor scales =
      (largest / largest_integer)
          .masked_fill(largest.isfinite().logical_not(), std::numeric_limits<double>::quiet_NaN())
          .masked_fill(largest < smallest, 0.0);
  const at::Tensor factors = at::nan_to_num(largest_integer / largest, 0.0, 0.0, 0.0);
  const at::Tensor integers = at::nan_to_num(blocks * factors, 0.0, 0.0, 0.0)
                                  .round()
                                  .masked_fill(scales.isnan().logical_or(scales == 0), 0.0)
                                  .to(at::kChar);
  return {integers.flatten().narrow(0, 0, values_n.numel()).clone(), scales.flatten()};
}

void from_int8(const BlockInt8& stored, const at::Tensor& values_n) {
  const at::Tensor values =
      in_blocks(stored.integers).to(at::kFloat).mul(stored.scales.unsqueeze(1));
  values_n.copy_(values.flatten().narrow(0, 0, values_n.numel()));
}

}  // namespace reference

}  // namespace trireme::autograd

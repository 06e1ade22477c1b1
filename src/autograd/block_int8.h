#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

/// How many neighbours in memory share a scale: the scales add 1.6 %.
constexpr int64_t int8_block = 256;

/// n numbers as integers of [-127, 127] times the scale of their block, its largest magnitude /
/// 127.
struct BlockInt8 {
  at::Tensor integers;  ///< int8 [n]
  at::Tensor scales;    ///< float32 [ceil(n / int8_block)]; NaN for a block with infinities or NaN
};

/// `values` is contiguous float32, on any device.
[[nodiscard]] BlockInt8 to_int8(const at::Tensor& values_n);
/// Into `values_n`, contiguous float32.
void from_int8(const BlockInt8& stored, const at::Tensor& values_n);

/// The same by ATen's operations, for devices other than the CPU.
namespace reference {
[[nodiscard]] BlockInt8 to_int8(const at::Tensor& values_n);
void from_int8(const BlockInt8& stored, const at::Tensor& values_n);
}  // namespace reference

}  // namespace trireme::autograd

#pragma once

#include "cuda/ops/element.h"

#include <compare>
#include <cstdint>

namespace trireme::cuda {

/// What a matrix product does besides, in the terms of cuBLASLt, whose matrices are column-major.
enum class Epilogue : uint8_t {
  none,
  bias,            ///< adds a vector of m to each column
  bias_gelu,       ///< the same, keeps that in `aux`, and applies gelu (tanh form)
  gelu_gradient,   ///< multiplies by gelu'(aux); the sums of the rows of the result go to `bias`
  row_sums_of_a,   ///< the sums over k of op(A) go to `bias`, m of them
  row_sums_of_b,   ///< the sums over k of op(B) go to `bias`, n of them
};

/// D = op(A) op(B) + epilogue, D [m, n], op(A) [m, k], op(B) [k, n]; column-major, accumulated in float32.
struct Product {
  Element type = Element::float32;
  bool tf32 = false;  ///< float32 only
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  int64_t lda = 0, ldb = 0, ldd = 0;  ///< `aux` is laid out like D
  Epilogue epilogue = Epilogue::none;
  auto operator<=>(const Product&) const = default;
};

/// The tensors of one call; `bias` and `aux` are read or written as the epilogue says.
struct Operands {
  const void* a = nullptr;
  const void* b = nullptr;
  void* d = nullptr;
  void* bias = nullptr;
  void* aux = nullptr;
};

/// A linear layer's row-major tensors: x [rows, in], y [rows, out], and a weight [in, out], or [out, in] if `transposed`. A
/// row-major matrix is its transpose in column-major terms, so that each product is done with the operands swapped:
/// y^T = W^T x^T.
struct LinearShape {
  Element type = Element::float32;
  bool tf32 = false;
  int64_t rows = 0, in = 0, out = 0;
  bool transposed = false;
};
/// A = weight, B = x, D = y.
[[nodiscard]] Product linear_product(const LinearShape& shape, Epilogue epilogue);
/// A = weight, B = dy, D = dx.
[[nodiscard]] Product input_gradient_product(const LinearShape& shape, Epilogue epilogue);
/// D = the weight's gradient. weight [in, out]: A = dy, B = x; transposed: A = x, B = dy. `with_bias`: the epilogue that adds
/// up dy.
[[nodiscard]] Product weight_gradient_product(const LinearShape& shape, bool with_bias);

/// Whether cuBLASLt may be asked for it; it can still refuse. What it cannot do is left to kernels of our own: float32 with
/// gelu, and an `aux` whose rows are no multiple of 8 elements.
[[nodiscard]] bool may_fuse(const Product& product);

}  // namespace trireme::cuda

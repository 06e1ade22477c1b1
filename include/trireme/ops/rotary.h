#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Cosine and sine of the angle t * base^(-2i/D) at [t, i]: [tokens, D/2] float32 on the CPU.
struct RotaryTables {
  at::Tensor cosine, sine;
};
/// `head_size`: D, even.
[[nodiscard]] RotaryTables rotary_tables(double base, int64_t head_size, int64_t tokens);

/// Rotary position embedding (Su et al. 2021) of queries or keys x_BTHD: pairs (i, i + D/2) of the
/// last dimension are turned by the angles of token t. The tables are on x's device, float32, for T
/// tokens or more. Floating types as layer_norm (norm.h); computed in float32 or better.
[[nodiscard]] at::Tensor rotary(const at::Tensor& x_BTHD, const at::Tensor& cosine,
                                const at::Tensor& sine);

}  // namespace trireme::ops

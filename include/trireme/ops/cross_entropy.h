#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// Sums over the rows that count, ready to be added to those of other micro-batches and ranks;
/// on the device of the logits.
struct CrossEntropy {
  at::Tensor loss_sum;  ///< 0-dim float32 (float64 for float64 logits) with grad: sum of -log
                        ///< softmax(logits)[target]
  at::Tensor weight;    ///< 0-dim float64: the number of rows that count
  at::Tensor correct;   ///< 0-dim float64: how many of them have their largest logit (the first of
                        ///< equals) at the target
};

struct CrossEntropyOptions {
  int64_t ignore_index = -100;
  /// Lets backward write the logits' gradient over the logits, which saves a buffer of their size.
  /// Allowed if nothing reads the logits once backward has begun: they are no leaf, not returned to
  /// a caller that keeps them, and the operation that made them did not save them (linear, addmm
  /// and mm do not; softmax, relu and tanh do). Not for a retained graph.
  bool consume_logits = false;
};

/// Cross-entropy of logits_NV (float32, bfloat16, float16 or float64; computed in float32 or
/// better) and targets_N (int64). A row does not count if its target is ignore_index or its mask_N
/// (any dtype, may be undefined) is zero. A target outside of [0, V) in a row that counts is an
/// Error of kind `data_damaged` on the CPU; on other devices, where the host reads nothing, it makes
/// the loss NaN. The softmax is never stored: forward keeps two numbers a row,
/// backward recomputes. Results do not depend on the number of threads or on the vector length of
/// the CPU.
[[nodiscard]] CrossEntropy cross_entropy_sum(const at::Tensor& logits_NV,
                                             const at::Tensor& targets_N,
                                             const at::Tensor& mask_N = {},
                                             const CrossEntropyOptions& options = {});

}  // namespace trireme::ops

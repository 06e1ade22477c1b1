#pragma once

#include <trireme/core/batch.h>
#include <trireme/core/random.h>

#include <cstdint>
#include <span>
#include <string_view>

#include <ATen/core/Tensor.h>

namespace trireme::ops {

/// One key a sample, int64 [B] on the CPU: a micro-batch's randomness in a form that units can take
/// as an input.
[[nodiscard]] at::Tensor sample_keys(core::RandomKey key, std::span<const int64_t> samples);
/// The batch's keys: where it has them already, or made of its `random` and samples.
[[nodiscard]] at::Tensor sample_keys(const core::Batch& batch);

/// Sets elements of x (float32, float64, bfloat16 or float16, first dimension = sample) to zero
/// with probability p in [0, 1) and divides the others by 1 - p. Which ones is a hash of (the
/// sample's key, `site`, the element's place in the sample): the same whatever batch or rank the
/// sample is in. Nothing is saved for backward, which computes the mask again. `site` names the
/// place in the model, different for every dropout. Keys lie on the device of x (float64: the CPU).
/// Returns x itself for p = 0.
[[nodiscard]] at::Tensor dropout(const at::Tensor& x, double p, const at::Tensor& keys_B,
                                 std::string_view site);
/// The same with sample_keys(key, samples).
[[nodiscard]] at::Tensor dropout(const at::Tensor& x, double p, core::RandomKey key,
                                 std::span<const int64_t> samples, std::string_view site = {});

}  // namespace trireme::ops

#pragma once

#include <trireme/precision/config.h>

#include <ATen/core/Tensor.h>

namespace trireme::precision {

enum class LossScale { off, fixed, dynamic };

/// The configuration decided for a device.
struct Precision {
  at::ScalarType compute = at::kFloat;     ///< what matrix products are computed in
  at::ScalarType parameters = at::kFloat;  ///< what the model is built in
  at::ScalarType reduce = at::kFloat;      ///< what gradients travel in
  bool autocast = false;
  bool fp8 = false;  ///< products of the model's blocks with 8-bit operands
  LossScale loss_scale = LossScale::off;
  double initial_scale = 1.0;
  int64_t growth_interval = 2000;
};

/// `has_bf16`: whether the GPU computes in bfloat16 (CPUs are not asked: auto is fp32 there). Error
/// `configuration` for combinations that cannot be meant: a loss scale without fp16, autocast to
/// fp32.
[[nodiscard]] Precision resolve(const PrecisionConfig& config, at::DeviceType device,
                                bool has_bf16 = false);

}  // namespace trireme::precision

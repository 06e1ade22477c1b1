#include "trainer/update_scales.h"

#include <algorithm>
#include <cmath>

#include "trainer/control.h"

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

// A batch in which nothing counts has weight 0; its gradients are 0 too.
constexpr double least_weight = 1e-30;

UpdateScales on_host(const at::Tensor& control, int ranks, const optim::GradientHealth& health, double loss_scale,
                     double nominal_weight, double max_norm) {
  const double* values = control.const_data_ptr<double>();
  const double average = nominal_weight / std::max(values[control::weight], least_weight) / loss_scale;
  const double norm = std::sqrt(*health.square_sum.const_data_ptr<double>()) * average;
  const double clip = max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1.0;
  const auto gradient_scale = static_cast<float>(average * clip);
  // A scale that is not finite would turn finite gradients into what the other two do not see.
  bool nonfinite = *health.nonfinite.const_data_ptr<float>() != 0 || !std::isfinite(gradient_scale);
  for (int r = 0; r < ranks; ++r) nonfinite = nonfinite || values[control::first_flag + r] > 0;
  return {at::scalar_tensor(norm, at::kDouble), at::scalar_tensor(gradient_scale, at::kFloat),
          at::scalar_tensor(nonfinite ? 1.0 : 0.0, at::kFloat)};
}

}  // namespace

UpdateScales update_scales_on_device(const at::Tensor& control, int ranks, const optim::GradientHealth& health,
                                     const at::Tensor& loss_scale, double nominal_weight, double max_norm) {
  const at::Tensor weight = control[control::weight].clamp_min(least_weight);
  const at::Tensor average = weight.reciprocal().mul_(nominal_weight).div_(loss_scale);
  UpdateScales scales;
  scales.norm = health.square_sum.sqrt().mul_(average);
  at::Tensor scale = average;
  if (max_norm > 0) scale = scale * (max_norm / (scales.norm + 1e-6)).clamp_max(1.0);
  scales.gradient_scale = scale.to(at::kFloat);
  const at::Tensor losses = control.narrow(0, control::first_flag, ranks).sum().gt(0).to(at::kFloat);
  const at::Tensor scale_flag = scales.gradient_scale.isfinite().logical_not().to(at::kFloat);
  scales.nonfinite = at::maximum(at::maximum(health.nonfinite, losses), scale_flag);
  return scales;
}

UpdateScales update_scales(const at::Tensor& control, int ranks, const optim::GradientHealth& health,
                           const at::Tensor& loss_scale, double nominal_weight, double max_norm) {
  // On a CPU the numbers are at hand, and a dozen tensor operations would be a tenth of a small step.
  if (control.is_cpu()) return on_host(control, ranks, health, loss_scale.item<double>(), nominal_weight, max_norm);
  return update_scales_on_device(control, ranks, health, loss_scale, nominal_weight, max_norm);
}

}  // namespace trireme::trainer

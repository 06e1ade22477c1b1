#include <trireme/precision/loss_scaler.h>

#include <ATen/ATen.h>

namespace trireme::precision {

LossScaler::LossScaler(const Precision& precision, at::Device device)
    : kind_(precision.loss_scale),
      growth_interval_(precision.growth_interval),
      scale_(at::full({}, precision.initial_scale, at::TensorOptions(device).dtype(at::kFloat))),
      growth_tracker_(at::zeros({}, at::TensorOptions(device).dtype(at::kInt))) {}

at::Tensor LossScaler::inverse() const {
  return scale_.reciprocal();
}

void LossScaler::update(const at::Tensor& nonfinite) {
  if (kind_ != LossScale::dynamic) return;
  at::_amp_update_scale_(scale_, growth_tracker_, nonfinite, 2.0, 0.5, growth_interval_);
}

void LossScaler::save_state(core::StateWriter& out) const {
  out.scalar("precision/scale", scale_.item<double>());
  out.scalar("precision/growth_tracker", growth_tracker_.item<int64_t>());
}

void LossScaler::load_state(const core::StateReader& in) {
  // A fixed scale is the configuration's, whatever the checkpoint says.
  if (kind_ != LossScale::dynamic) return;
  scale_.fill_(in.real("precision/scale"));
  growth_tracker_.fill_(in.integer("precision/growth_tracker"));
}

}  // namespace trireme::precision

#pragma once

#include <trireme/core/state.h>
#include <trireme/precision/precision.h>

#include <ATen/core/Tensor.h>

namespace trireme::precision {

/// The factor that keeps small float16 gradients from vanishing: backward starts from loss *
/// scale(), gradients are multiplied by inverse(). A dynamic scale halves after a non-finite step
/// and doubles after `growth_interval` finite ones in a row (Micikevicius et al. 2018; the rule of
/// PyTorch's GradScaler). Without fp16 it is 1 and stays so.
class LossScaler final : public core::Stateful {
 public:
  LossScaler(const Precision& precision, at::Device device);

  /// Whether update() ever changes the scale.
  [[nodiscard]] bool dynamic() const { return kind_ == LossScale::dynamic; }
  /// 0-dim float32 tensors on the device. The first is changed in place by update(); the second is
  /// made anew.
  [[nodiscard]] const at::Tensor& scale() const { return scale_; }
  [[nodiscard]] at::Tensor inverse() const;
  /// After a step: `nonfinite` (0-dim float32 on the device) must be equal on all ranks. The host
  /// does not wait.
  void update(const at::Tensor& nonfinite);

  void save_state(core::StateWriter& out) const override;
  void load_state(const core::StateReader& in) override;

 private:
  LossScale kind_;
  int64_t growth_interval_;
  at::Tensor scale_;
  at::Tensor growth_tracker_;  // int32: finite steps since the scale changed
};

}  // namespace trireme::precision

#include "optim/device_optimizer.h"

#include <utility>

#include <ATen/ATen.h>

namespace trireme::optim {

namespace {

std::vector<const void*> addresses_of(const std::vector<Entry>& entries) {
  std::vector<const void*> addresses;
  addresses.reserve(2 * entries.size());
  for (const Entry& entry : entries) {
    check_gradient(entry.parameter);
    addresses.push_back(entry.parameter.tensor.const_data_ptr());
    addresses.push_back(entry.parameter.tensor.grad().const_data_ptr());
  }
  return addresses;
}

}  // namespace

DeviceOptimizer::DeviceOptimizer(const OptimConfig& config, const core::ParameterSet& parameters,
                                 AddOverShards add_over_shards, ops::Kernels& kernels)
    : EntryOptimizer(config, parameters),
      add_over_shards_(std::move(add_over_shards)),
      kernels_(kernels) {
  const at::TensorOptions device = steps().options();
  lr_ = at::zeros({}, device.dtype(at::kDouble));
  unscaled_ = at::ones({}, device.dtype(at::kFloat));
  finite_ = at::zeros({}, device.dtype(at::kFloat));
}

void DeviceOptimizer::prepare_update() {
  std::vector<const void*> addresses = addresses_of(entries());
  if (update_ != nullptr && addresses == addresses_) return;
  std::vector<ops::UpdateEntry> all;
  for (const Entry& entry : entries()) {
    const ParameterSettings& one = settings()[entry.settings];
    all.push_back({.parameter = entry.parameter.tensor.detach(),
                   .gradient = entry.parameter.tensor.grad(),
                   .master = entry.master,
                   .slots = entry.slots,
                   .lr_scale = one.lr_scale,
                   .weight_decay = one.weight_decay,
                   .rounding_key = rounding_key(entry.parameter),
                   .begin = first_element(entry.parameter)});
  }
  update_ = kernels_.make_update(rule(), all);
  addresses_ = std::move(addresses);
}

void DeviceOptimizer::step(const StepInputs& inputs) {
  const at::NoGradGuard no_grad;
  prepare_update();
  if (!inputs.device_lr.defined()) lr_.fill_(inputs.lr);
  const auto given_or = [](const at::Tensor& given, const at::Tensor& otherwise) {
    return given.defined() ? given : otherwise;
  };
  update_->step({.lr = given_or(inputs.device_lr, lr_),
                 .gradient_scale = given_or(inputs.gradient_scale, unscaled_),
                 .nonfinite = given_or(inputs.nonfinite, finite_),
                 .steps = steps(),
                 .add_over_shards = add_over_shards_});
  mark_changed();
}

}  // namespace trireme::optim

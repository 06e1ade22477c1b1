#include <trireme/core/error.h>
#include <trireme/core/fragments.h>
#include <trireme/core/log.h>
#include <trireme/optim/weight_average.h>

#include <ATen/ATen.h>

namespace trireme::optim {

WeightAverage::WeightAverage(const EmaConfig& config, const core::ParameterSet& parameters,
                             const Optimizer& optimizer)
    : config_(config), parameters_(parameters), optimizer_(optimizer) {
  check(config_.decay.has_value(), "an average has a decay");
  const at::NoGradGuard no_grad;
  for (const at::Tensor& weight : optimizer_.precise(parameters_))
    average_.push_back(weight.to(at::kFloat, false, /*copy=*/true).contiguous());
}

void WeightAverage::update(int64_t step, const at::Tensor& nonfinite) {
  if (step % config_.every_steps != 0) return;
  const at::NoGradGuard no_grad;
  // All on the device: the number of updates counts those that were made.
  at::Tensor keep = at::full({}, *config_.decay, nonfinite.options().dtype(at::kDouble));
  if (config_.warmup) {
    const at::Tensor updates = optimizer_.steps()
                                   .to(keep.device(), at::kDouble)
                                   .div(static_cast<double>(config_.every_steps));
    keep = at::minimum(keep, (updates + 1.0) / (updates + 10.0));
  }
  const at::Tensor pull = ((1.0 - keep) * (1.0 - nonfinite.to(at::kDouble))).to(at::kFloat);
  const std::vector<at::Tensor> weights = optimizer_.precise(parameters_);
  for (size_t i = 0; i < average_.size(); ++i) average_[i].lerp_(weights[i].to(at::kFloat), pull);
}

WeightAverage::Scope::Scope(WeightAverage& average) : average_(average) {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < average_.parameters_.size(); ++i) {
    const at::Tensor& parameter = average_.parameters_[i].tensor;
    weights_.push_back(parameter.clone());
    parameter.copy_(average_.average_[i]);
  }
}

WeightAverage::Scope::~Scope() {
  const at::NoGradGuard no_grad;
  for (size_t i = 0; i < weights_.size(); ++i) average_.parameters_[i].tensor.copy_(weights_[i]);
}

void WeightAverage::save_state(core::StateWriter& out) const {
  for (size_t i = 0; i < average_.size(); ++i)
    core::save_values(out, "ema/" + parameters_[i].name, parameters_[i], average_[i]);
}

void WeightAverage::load_state(const core::StateReader& in) {
  const at::NoGradGuard no_grad;
  const bool there = parameters_.empty() || in.has("ema/" + parameters_[0].name);
  if (!there) log::info("the checkpoint has no average of the weights: it starts from the weights");
  const std::vector<at::Tensor> weights = optimizer_.precise(parameters_);
  for (size_t i = 0; i < average_.size(); ++i) {
    if (there)
      core::load_values(in, "ema/" + parameters_[i].name, parameters_[i], average_[i]);
    else
      average_[i].copy_(weights[i]);
  }
}

}  // namespace trireme::optim

#include "trainer/contribution.h"

#include <cmath>

#include <trireme/core/error.h>

#include "trainer/control.h"

#include <ATen/ATen.h>

namespace trireme::trainer {
namespace {

using Tensors = std::vector<at::Tensor>;

double host_sum(const Tensors& scalars) {
  double sum = 0;
  for (const at::Tensor& scalar : scalars) sum += scalar.item<double>();
  return sum;
}

at::Tensor device_sum(const Tensors& scalars, at::Device device) {
  Tensors there;
  for (const at::Tensor& scalar : scalars) there.push_back(scalar.to(device, at::kDouble));
  return at::stack(there).sum();
}

}  // namespace

void Contribution::add(const model::LossSums& sums) {
  losses_.push_back(sums.loss_sum.detach());
  weights_.push_back(sums.weight);
  if (metrics_.empty()) metrics_.resize(sums.metrics.size());
  check(metrics_.size() == sums.metrics.size(), "a model reports the same metrics in every micro-step");
  for (size_t i = 0; i < metrics_.size(); ++i) metrics_[i].push_back(sums.metrics[i].second);
}

at::Tensor Contribution::control(Votes votes, int rank, int ranks) const {
  const int64_t first_metric = control::first_metric(ranks);
  const at::Tensor vector = at::zeros({first_metric + static_cast<int64_t>(metrics_.size())}, at::kDouble);
  // Plain stores: a tensor operation costs about a microsecond each.
  auto* values = vector.mutable_data_ptr<double>();
  values[control::loss_sum] = host_sum(losses_);
  values[control::weight] = host_sum(weights_);
  values[control::stop_votes] = votes.stop ? 1.0 : 0.0;
  values[control::save_votes] = votes.save ? 1.0 : 0.0;
  values[control::saving] = votes.saving ? 1.0 : 0.0;
  values[control::debug] = votes.debug ? 1.0 : 0.0;
  // The sum says that something was not finite, the flag says whose it was.
  values[control::first_flag + rank] = std::isfinite(values[control::loss_sum]) ? 0.0 : 1.0;
  for (size_t i = 0; i < metrics_.size(); ++i) values[first_metric + static_cast<int64_t>(i)] = host_sum(metrics_[i]);
  return vector;
}

at::Tensor Contribution::control_on_device(const at::Tensor& votes, int rank, int ranks) const {
  const at::Device device = votes.device();
  const at::Tensor loss = device_sum(losses_, device);
  const at::Tensor flags = at::zeros({ranks}, votes.options());
  flags.select(0, rank).copy_(loss.isfinite().logical_not());
  Tensors parts = {at::stack({loss, device_sum(weights_, device)}), votes, flags};
  Tensors metrics;
  for (const Tensors& metric : metrics_) metrics.push_back(device_sum(metric, device));
  if (!metrics.empty()) parts.push_back(at::stack(metrics));
  return at::cat(parts);
}

}  // namespace trireme::trainer

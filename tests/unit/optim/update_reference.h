#pragma once

#include <trireme/optim/config.h>

#include <cmath>
#include <map>
#include <string>

#include <ATen/ATen.h>

namespace trireme::optim {

/// The update rules once more, op by op in float64 and as their papers (and PyTorch) write them.
class ReferenceRule {
 public:
  ReferenceRule(OptimConfig config, at::Tensor values, double weight_decay)
      : config_(std::move(config)),
        p(values.detach().to(at::kDouble).clone()),
        weight_decay_(weight_decay),
        a_(at::zeros_like(p)),
        b_(at::zeros_like(p)) {}

  void step(const at::Tensor& gradient, double lr) {
    at::Tensor g = gradient.to(at::kDouble);
    const std::string& name = config_.name;
    const double b1 = config_.betas[0], b2 = config_.betas[1], eps = config_.eps;
    ++t_;
    if (name == "adam" || name == "sgd" || name == "adagrad") g = g + weight_decay_ * p;
    if (name == "adamw" || name == "adam" || name == "lamb") {
      a_ = b1 * a_ + (1 - b1) * g;
      b_ = b2 * b_ + (1 - b2) * g * g;
      const at::Tensor m = a_ / (1 - std::pow(b1, t_)), v = b_ / (1 - std::pow(b2, t_));
      at::Tensor direction = m / (v.sqrt() + eps);
      if (name == "adamw") direction = direction + weight_decay_ * p;
      if (name == "lamb") {
        direction = direction + weight_decay_ * p;
        const double norm_p = p.norm().item<double>(), norm_r = direction.norm().item<double>();
        if (norm_p > 0 && norm_r > 0) direction = direction * (norm_p / norm_r);
      }
      p = p - lr * direction;
    } else if (name == "sgd") {
      a_ = config_.momentum * a_ + g;
      if (config_.momentum == 0)
        p = p - lr * g;
      else
        p = p - lr * (config_.nesterov ? g + config_.momentum * a_ : a_);
    } else if (name == "adagrad") {
      a_ = a_ + g * g;
      p = p - lr * g / (a_.sqrt() + eps);
    } else if (name == "lion") {
      p = p - lr * ((b1 * a_ + (1 - b1) * g).sign() + weight_decay_ * p);
      a_ = b2 * a_ + (1 - b2) * g;
    }
  }

 private:
  OptimConfig config_;

 public:
  at::Tensor p;

 private:
  double weight_decay_;
  at::Tensor a_, b_;
  double t_ = 0;
};

}  // namespace trireme::optim

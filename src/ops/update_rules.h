#pragma once

#include <cmath>

#include <torch/headeronly/macros/Macros.h>

namespace trireme::ops {

/// How an optimizer updates; constants of an element's update follow from it, see `of` below.
struct UpdateRule {
  enum class Kind { sgd, momentum_sgd, adagrad, adam, adamw, lion, lamb };
  Kind kind = Kind::adamw;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double momentum = 0.0;
  bool nesterov = false;
};

// One element's update on any processor, with everything that is the same for all elements worked
// out before, in float64 and rounded once: `of` does that for update number `t` (from 1). `slots`
// is the number of state values an element has; g is the scaled gradient.

/// Adam (Kingma and Ba 2015) with the decay in the gradient, or AdamW (Loshchilov and Hutter 2019)
/// with it decoupled; eps stands outside the bias-corrected root as in PyTorch.
template <bool decoupled>
struct Adam {
  static constexpr int slots = 2;
  float decay;  // decoupled: 1 - lr * weight_decay; else weight_decay
  float one_minus_beta1, beta2, one_minus_beta2, step_size, root_factor, eps;

  C10_HOST_DEVICE static Adam of(const UpdateRule& rule, double lr, double weight_decay, double t) {
    return {static_cast<float>(decoupled ? 1.0 - lr * weight_decay : weight_decay),
            static_cast<float>(1.0 - rule.beta1),
            static_cast<float>(rule.beta2),
            static_cast<float>(1.0 - rule.beta2),
            static_cast<float>(lr / (1.0 - std::pow(rule.beta1, t))),
            static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(rule.beta2, t))),
            static_cast<float>(rule.eps)};
  }
  C10_HOST_DEVICE void operator()(float& p, float g, float& m, float& v) const {
    if constexpr (decoupled)
      p *= decay;
    else
      g += decay * p;
    m += (g - m) * one_minus_beta1;
    v = v * beta2 + g * g * one_minus_beta2;
    p -= step_size * m / (std::sqrt(v) * root_factor + eps);
  }
};

struct Sgd {
  static constexpr int slots = 0;
  float lr, weight_decay;

  C10_HOST_DEVICE static Sgd of(const UpdateRule&, double lr, double weight_decay, double) {
    return {static_cast<float>(lr), static_cast<float>(weight_decay)};
  }
  C10_HOST_DEVICE void operator()(float& p, float g, float&, float&) const {
    p -= lr * (g + weight_decay * p);
  }
};

/// Momentum as in PyTorch: the buffer is the sum, and nesterov adds the gradient once more.
struct MomentumSgd {
  static constexpr int slots = 1;
  float lr, weight_decay, momentum;
  float gradient_part, buffer_part;  // (0, 1), or (1, momentum) for nesterov

  C10_HOST_DEVICE static MomentumSgd of(const UpdateRule& rule, double lr, double weight_decay,
                                        double) {
    const auto momentum = static_cast<float>(rule.momentum);
    return {static_cast<float>(lr), static_cast<float>(weight_decay), momentum,
            rule.nesterov ? 1.0F : 0.0F, rule.nesterov ? momentum : 1.0F};
  }
  C10_HOST_DEVICE void operator()(float& p, float g, float& buffer, float&) const {
    g += weight_decay * p;
    buffer = momentum * buffer + g;
    p -= lr * (gradient_part * g + buffer_part * buffer);
  }
};

/// Duchi, Hazan and Singer 2011.
struct Adagrad {
  static constexpr int slots = 1;
  float lr, weight_decay, eps;

  C10_HOST_DEVICE static Adagrad of(const UpdateRule& rule, double lr, double weight_decay,
                                    double) {
    return {static_cast<float>(lr), static_cast<float>(weight_decay), static_cast<float>(rule.eps)};
  }
  C10_HOST_DEVICE void operator()(float& p, float g, float& sum, float&) const {
    g += weight_decay * p;
    sum += g * g;
    p -= lr * g / (std::sqrt(sum) + eps);
  }
};

/// Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2.
struct Lion {
  static constexpr int slots = 1;
  float lr, decay, one_minus_beta1, one_minus_beta2;  // decay: 1 - lr * weight_decay

  C10_HOST_DEVICE static Lion of(const UpdateRule& rule, double lr, double weight_decay, double) {
    return {static_cast<float>(lr), static_cast<float>(1.0 - lr * weight_decay),
            static_cast<float>(1.0 - rule.beta1), static_cast<float>(1.0 - rule.beta2)};
  }
  C10_HOST_DEVICE void operator()(float& p, float g, float& m, float&) const {
    const float direction = m + (g - m) * one_minus_beta1;
    const float sign = direction > 0.0F ? 1.0F : (direction < 0.0F ? -1.0F : 0.0F);
    p = p * decay - lr * sign;
    m += (g - m) * one_minus_beta2;
  }
};

/// LAMB (You et al. 2020): Adam's direction plus decay, scaled by the trust ratio |p| / |direction|
/// of each tensor. Two passes: moments and the sums of squares of p and direction, then the step.
struct Lamb {
  static constexpr int slots = 2;
  float weight_decay, one_minus_beta1, beta2, one_minus_beta2, moment_factor, root_factor, eps;

  C10_HOST_DEVICE static Lamb of(const UpdateRule& rule, double, double weight_decay, double t) {
    return {static_cast<float>(weight_decay),
            static_cast<float>(1.0 - rule.beta1),
            static_cast<float>(rule.beta2),
            static_cast<float>(1.0 - rule.beta2),
            static_cast<float>(1.0 / (1.0 - std::pow(rule.beta1, t))),
            static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(rule.beta2, t))),
            static_cast<float>(rule.eps)};
  }
  /// lr times the trust ratio: what a direction is multiplied by.
  C10_HOST_DEVICE static float step_size(double lr, double value_sum, double direction_sum) {
    const double trust =
        value_sum > 0.0 && direction_sum > 0.0 ? std::sqrt(value_sum / direction_sum) : 1.0;
    return static_cast<float>(lr * trust);
  }
  C10_HOST_DEVICE void moments(float g, float& m, float& v) const {
    m += (g - m) * one_minus_beta1;
    v = v * beta2 + g * g * one_minus_beta2;
  }
  [[nodiscard]] C10_HOST_DEVICE float direction(float p, float m, float v) const {
    return m * moment_factor / (std::sqrt(v) * root_factor + eps) + weight_decay * p;
  }
};

/// Calls f.operator()<Rule>() with the rule's type; lamb, which takes two passes, is not among
/// them.
template <class F>
void with_single_pass_rule(UpdateRule::Kind kind, const F& f) {
  using Kind = UpdateRule::Kind;
  switch (kind) {
    case Kind::sgd:
      return f.template operator()<Sgd>();
    case Kind::momentum_sgd:
      return f.template operator()<MomentumSgd>();
    case Kind::adagrad:
      return f.template operator()<Adagrad>();
    case Kind::adam:
      return f.template operator()<Adam<false>>();
    case Kind::adamw:
      return f.template operator()<Adam<true>>();
    case Kind::lion:
      return f.template operator()<Lion>();
    case Kind::lamb:
      return;
  }
}

}  // namespace trireme::ops

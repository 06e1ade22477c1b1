#pragma once

#include <cmath>

namespace trireme::optim {

// One element's update, with everything that is the same for all elements worked out before.
// `slots` is the number of state values an element has; g is the scaled gradient.

/// Adam (Kingma and Ba 2015) with the decay in the gradient, or AdamW (Loshchilov and Hutter 2019)
/// with it decoupled; eps stands outside the bias-corrected root as in PyTorch.
template <bool decoupled>
struct Adam {
  static constexpr int slots = 2;
  float decay;  // decoupled: 1 - lr * weight_decay; else weight_decay
  float one_minus_beta1, beta2, one_minus_beta2, step_size, root_factor, eps;

  void operator()(float& p, float g, float& m, float& v) const {
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

  void operator()(float& p, float g, float&, float&) const { p -= lr * (g + weight_decay * p); }
};

/// Momentum as in PyTorch: the buffer is the sum, and nesterov adds the gradient once more.
struct MomentumSgd {
  static constexpr int slots = 1;
  float lr, weight_decay, momentum;
  float gradient_part, buffer_part;  // (0, 1), or (1, momentum) for nesterov

  void operator()(float& p, float g, float& buffer, float&) const {
    g += weight_decay * p;
    buffer = momentum * buffer + g;
    p -= lr * (gradient_part * g + buffer_part * buffer);
  }
};

/// Duchi, Hazan and Singer 2011.
struct Adagrad {
  static constexpr int slots = 1;
  float lr, weight_decay, eps;

  void operator()(float& p, float g, float& sum, float&) const {
    g += weight_decay * p;
    sum += g * g;
    p -= lr * g / (std::sqrt(sum) + eps);
  }
};

/// Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2.
struct Lion {
  static constexpr int slots = 1;
  float lr, decay, one_minus_beta1, one_minus_beta2;  // decay: 1 - lr * weight_decay

  void operator()(float& p, float g, float& m, float&) const {
    const float direction = m + (g - m) * one_minus_beta1;
    const float sign = direction > 0.0F ? 1.0F : (direction < 0.0F ? -1.0F : 0.0F);
    p = p * decay - lr * sign;
    m += (g - m) * one_minus_beta2;
  }
};

/// LAMB (You et al. 2020): Adam's direction plus decay, scaled by the trust ratio |p| / |direction|
/// of each tensor.
struct Lamb {
  float weight_decay, one_minus_beta1, beta2, one_minus_beta2, moment_factor, root_factor, eps;

  void moments(float g, float& m, float& v) const {
    m += (g - m) * one_minus_beta1;
    v = v * beta2 + g * g * one_minus_beta2;
  }
  [[nodiscard]] float direction(float p, float m, float v) const {
    return m * moment_factor / (std::sqrt(v) * root_factor + eps) + weight_decay * p;
  }
};

}  // namespace trireme::optim

#pragma once

#include "ops/update_rules.h"

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::optim {

/// A run of elements of one parameter, everything of it as raw memory of the CPU. `first` and
/// `second` are null where the rule has fewer slots; `copy` is the low-precision parameter that
/// follows the float32 `values`, or null.
struct Slice {
  float* values;
  float* gradient;
  float* first;
  float* second;
  void* copy;
  at::ScalarType copy_type;
  int64_t elements;
};

// Each reads and writes every array once: gradients are scaled, used and cleared in the same pass.
void update(const ops::Adam<true>& rule, float gradient_scale, const Slice& slice);
void update(const ops::Adam<false>& rule, float gradient_scale, const Slice& slice);
void update(const ops::Sgd& rule, float gradient_scale, const Slice& slice);
void update(const ops::MomentumSgd& rule, float gradient_scale, const Slice& slice);
void update(const ops::Adagrad& rule, float gradient_scale, const Slice& slice);
void update(const ops::Lion& rule, float gradient_scale, const Slice& slice);

/// LAMB needs the norms of a whole tensor before its second pass.
struct SquareSums {
  double values = 0.0;
  double directions = 0.0;

  SquareSums& operator+=(const SquareSums& other) {
    values += other.values;
    directions += other.directions;
    return *this;
  }
};
[[nodiscard]] SquareSums advance_moments(const ops::Lamb& rule, float gradient_scale,
                                         const Slice& slice);
/// `step_size` is lr times the trust ratio. Clears the gradient.
void apply_direction(const ops::Lamb& rule, float step_size, const Slice& slice);

/// What a skipped update does.
void clear_gradient(const Slice& slice);
/// Rounds `values` to nearest even into `copy`.
void write_copy(const Slice& slice);

}  // namespace trireme::optim

#pragma once

#include "cuda/ops/element.h"
#include "cuda/stream_type.h"

#include <cstdint>

namespace trireme::cuda {

/// y_BTHD: pairs (i, i + D/2) of x's last dimension, turned by the angles whose cosine and sine are [T, D/2]; by the negative
/// angles for `back`. Dense; y may be x.
struct Rotary {
  Element type = Element::float32;  ///< of x and y
  const void* x = nullptr;
  void* y = nullptr;
  const float* cosine = nullptr;
  const float* sine = nullptr;
  int64_t samples = 0, tokens = 0, heads = 0;
  int64_t half = 0;  ///< D/2
  bool back = false;
};
void rotary(const Rotary& rotary, Stream stream);

}  // namespace trireme::cuda

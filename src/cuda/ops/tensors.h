#pragma once

#include <trireme/core/error.h>

#include "cuda/ops/element.h"

#include <initializer_list>
#include <string>

#include <ATen/core/Tensor.h>

namespace trireme::cuda {

/// What kernels know of a tensor beside its address; a bug for other types.
[[nodiscard]] inline Element element_of(const at::Tensor& x) {
  switch (x.scalar_type()) {
    case at::kFloat:
      return Element::float32;
    case at::kBFloat16:
      return Element::bfloat16;
    case at::kHalf:
      return Element::float16;
    default:
      check(false, std::string("a kernel for ") + at::toString(x.scalar_type()));
      return Element::float32;
  }
}

/// Kernels see addresses only.
inline void check_alike(const at::Tensor& like, std::initializer_list<at::Tensor> others) {
  check(like.is_contiguous(), "kernels take dense tensors");
  for (const at::Tensor& other : others)
    check(other.sizes() == like.sizes() && other.scalar_type() == like.scalar_type() && other.device() == like.device() &&
              other.is_contiguous(),
          "kernels take dense tensors of one shape, type and device");
}

}  // namespace trireme::cuda

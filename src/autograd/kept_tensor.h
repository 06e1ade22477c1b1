#pragma once

#include <cstdint>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

/// Whether this is a leaf that requires grad or a view of one (linear saves weight.t()). Such
/// tensors take no memory of their own, and their storage may be emptied and filled again between
/// forward and backward.
[[nodiscard]] bool is_parameter(const at::Tensor& tensor);

/// A saved tensor as it is, with the check that LibTorch gives up for tensors saved through hooks:
/// whether it was changed in place since. Parameters are not checked.
class KeptTensor {
 public:
  KeptTensor() = default;
  explicit KeptTensor(const at::Tensor& tensor);

  [[nodiscard]] const at::Tensor& tensor() const { return tensor_; }
  [[nodiscard]] bool changed() const;

 private:
  at::Tensor tensor_;  // a leaf that requires grad itself, otherwise detached
  int64_t version_ = unchecked;
  static constexpr int64_t unchecked = -1;
};

}  // namespace trireme::autograd

#include "autograd/kept_tensor.h"

#include <ATen/ATen.h>

namespace trireme::autograd {

namespace {

bool is_trained_leaf(const at::TensorBase& tensor) {
  return tensor.is_leaf() && tensor.requires_grad();
}

}  // namespace

bool is_parameter(const at::Tensor& tensor) {
  return is_trained_leaf(tensor) || (tensor.is_view() && is_trained_leaf(tensor._base()));
}

KeptTensor::KeptTensor(const at::Tensor& tensor) {
  if (!tensor.defined()) return;
  tensor_ = is_trained_leaf(tensor) ? tensor : tensor.detach();
  // Tensors made in inference mode have no version.
  if (!is_parameter(tensor) && !tensor.is_inference()) version_ = tensor._version();
}

bool KeptTensor::changed() const {
  return version_ != unchecked && tensor_._version() != version_;
}

}  // namespace trireme::autograd

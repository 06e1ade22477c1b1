#pragma once

#include <memory>

#include <ATen/core/Tensor.h>

namespace trireme::autograd {

/// One tensor that autograd saves for backward, in the keeping of a provider. pack is called once,
/// with gradient mode off; unpack at each use in backward and must return the same values. A leaf
/// may be kept as it is, anything else only detached or transformed. LibTorch does not detect
/// in-place changes of tensors saved this way.
class SavedTensor {
 public:
  virtual ~SavedTensor();
  virtual void pack(const at::Tensor& tensor) = 0;
  virtual at::Tensor unpack() = 0;
};

/// Decides how tensors are saved: recompute, offload, compress.
class SavedTensorProvider {
 public:
  virtual ~SavedTensorProvider();
  /// For the next tensor that is saved; null: save it normally.
  virtual std::unique_ptr<SavedTensor> make() = 0;
};

/// While it lives, tensors saved by this thread go to `provider`, the innermost scope's. Scopes
/// nest and end in reverse order.
class SavedTensorScope {
 public:
  explicit SavedTensorScope(SavedTensorProvider& provider);
  ~SavedTensorScope();
  SavedTensorScope(const SavedTensorScope&) = delete;
  SavedTensorScope& operator=(const SavedTensorScope&) = delete;
};

}  // namespace trireme::autograd

#pragma once

#include <map>
#include <vector>

#include <ATen/core/Tensor.h>
#include <c10/core/Storage.h>

namespace trireme::emulated {

/// Tensors of the CPU over the memory of a device, for one operation. They own nothing.
class HostViews {
 public:
  explicit HostViews(c10::Device device) : device_(device) {}

  /// Tensors of one storage get views of one storage. Undefined tensors and those of the CPU stay
  /// what they are.
  at::Tensor on_host(const at::Tensor& tensor);
  /// A result of the operation as a tensor of the device: a view of what it is a view of, else a
  /// copy.
  at::Tensor on_device(const at::Tensor& result);

  /// Memory of the device that results were copied to, in the order of on_device().
  struct Copied {
    void* to = nullptr;
    size_t bytes = 0;
  };
  [[nodiscard]] const std::vector<Copied>& copied() const { return copied_; }

 private:
  c10::Device device_;
  std::map<const c10::StorageImpl*, c10::Storage> host_of_;
  std::map<const c10::StorageImpl*, c10::Storage> device_of_;
  std::vector<Copied> copied_;
};

/// The tensor's view on the host that has a storage of its own.
[[nodiscard]] at::Tensor host_view(const at::Tensor& tensor);
/// The same tensor, without a share in its memory.
[[nodiscard]] at::Tensor unowned(const at::Tensor& tensor);
/// Gives a tensor another shape; its memory grows where it has to.
void reshape_memory(const at::Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides);

}  // namespace trireme::emulated

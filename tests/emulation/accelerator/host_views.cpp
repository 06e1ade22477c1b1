#include "host_views.h"

#include "emulated.h"
#include "heap.h"

#include <cstring>

#include <ATen/EmptyTensor.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/TensorImpl.h>

namespace trireme::emulated {
namespace {

// Operations with an `out` argument may make it larger: then the view gets memory of its own.
c10::Storage borrowed(const c10::Storage& storage, c10::Device device) {
  return {c10::Storage::use_byte_size_t(), storage.nbytes(),
          at::DataPtr(storage.mutable_data(), device), c10::GetAllocator(device.type()), true};
}

at::Tensor over(const c10::Storage& storage, const at::Tensor& shape, c10::DispatchKey key) {
  at::Tensor tensor = at::detail::make_tensor<c10::TensorImpl>(
      c10::Storage(storage), c10::DispatchKeySet(key), shape.dtype());
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  impl->set_storage_offset(shape.storage_offset());
  impl->set_sizes_and_strides(shape.sizes(), shape.strides());
  if (shape.unsafeGetTensorImpl()->is_wrapped_number()) impl->set_wrapped_number(true);
  return tensor;
}

}  // namespace

at::Tensor HostViews::on_host(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != device_type) return tensor;
  const c10::Storage& storage = tensor.storage();
  const auto [found, is_new] = host_of_.try_emplace(storage.unsafeGetStorageImpl());
  if (is_new) {
    found->second = borrowed(storage, c10::DeviceType::CPU);
    device_of_.emplace(found->second.unsafeGetStorageImpl(), storage);
  }
  return over(found->second, tensor, c10::DispatchKey::CPU);
}

at::Tensor HostViews::on_device(const at::Tensor& result) {
  if (!result.defined() || !result.is_cpu()) return result;
  const c10::Storage& storage = result.storage();
  const auto [found, is_new] = device_of_.try_emplace(storage.unsafeGetStorageImpl());
  if (is_new) {
    const c10::DeviceGuard guard(device_);
    c10::Allocator* allocator = c10::GetAllocator(device_type);
    found->second =
        c10::Storage(c10::Storage::use_byte_size_t(), storage.nbytes(), allocator, true);
    copied_.push_back({found->second.mutable_data(), storage.nbytes()});
    const Access access;
    if (storage.nbytes() > 0) std::memcpy(copied_.back().to, storage.data(), storage.nbytes());
  }
  return over(found->second, result, c10::DispatchKey::PrivateUse1);
}

at::Tensor host_view(const at::Tensor& tensor) {
  return HostViews(tensor.device()).on_host(tensor);
}

at::Tensor unowned(const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  const bool on_host = tensor.is_cpu();
  return over(borrowed(tensor.storage(), tensor.device()), tensor,
              on_host ? c10::DispatchKey::CPU : c10::DispatchKey::PrivateUse1);
}

void reshape_memory(const at::Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides) {
  c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(sizes, strides);
  const size_t offset = static_cast<size_t>(tensor.storage_offset());
  const size_t bytes = at::detail::computeStorageNbytes(sizes, strides, tensor.itemsize(), offset);
  const c10::Storage& storage = tensor.storage();
  if (bytes <= storage.nbytes()) return;
  const c10::DeviceGuard guard(tensor.device());
  at::DataPtr grown = c10::GetAllocator(device_type)->allocate(bytes);
  const Access access;
  if (storage.nbytes() > 0) std::memcpy(grown.mutable_get(), storage.data(), storage.nbytes());
  storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(grown));
  storage.unsafeGetStorageImpl()->set_nbytes(bytes);
}

}  // namespace trireme::emulated

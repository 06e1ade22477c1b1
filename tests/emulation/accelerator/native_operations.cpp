#include "emulated.h"
#include "fallback.h"
#include "heap.h"
#include "host_sync.h"
#include "host_views.h"
#include "streams.h"
#include "tape.h"

#include <optional>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/InferSize.h>
#include <ATen/NativeFunctions.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/native/Resize.h>
#include <torch/library.h>

// What the fallback cannot do: make memory, look at it from another side, and bring values across.
namespace trireme::emulated {
namespace {

using at::IntArrayRef;
using at::Tensor;
using std::optional;

constexpr auto on_device = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);

c10::Device device_or_current(optional<at::Device> device) {
  if (device && device->has_index()) return *device;
  return {device_type, static_cast<c10::DeviceIndex>(current_device())};
}

Tensor empty(IntArrayRef sizes, optional<at::ScalarType> type, optional<at::Layout>,
             optional<at::Device> device, optional<bool> pinned,
             optional<at::MemoryFormat> format) {
  TORCH_CHECK(!pinned.value_or(false), "only memory of the host can be pinned");
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_generic(sizes, c10::GetAllocator(device_type), on_device,
                                   c10::dtype_or_default(type), format);
}

Tensor empty_strided(IntArrayRef sizes, IntArrayRef strides, optional<at::ScalarType> type,
                     optional<at::Layout>, optional<at::Device> device, optional<bool> pinned) {
  TORCH_CHECK(!pinned.value_or(false), "only memory of the host can be pinned");
  const c10::DeviceGuard guard(device_or_current(device));
  return at::detail::empty_strided_generic(sizes, strides, c10::GetAllocator(device_type),
                                           on_device, c10::dtype_or_default(type));
}

const Tensor& resize_(const Tensor& self, IntArrayRef sizes, optional<at::MemoryFormat> format) {
  if (self.sizes() == sizes && !format) return self;
  const Tensor shape = at::empty(sizes, self.options().device(at::kMeta).memory_format(
                                            format.value_or(at::MemoryFormat::Contiguous)));
  reshape_memory(self, sizes, shape.strides());
  return self;
}

Tensor& set_storage_(Tensor& self, at::Storage source, int64_t offset, IntArrayRef sizes,
                     IntArrayRef strides) {
  at::native::checkSetStorage(self, source, offset, sizes, strides);
  c10::TensorImpl* impl = self.unsafeGetTensorImpl();
  impl->set_storage_offset(offset);
  if (strides.data() != nullptr)
    impl->set_sizes_and_strides(sizes, strides);
  else
    impl->set_sizes_contiguous(sizes);
  return self;
}

Tensor& set_whole_storage_(Tensor& self, at::Storage source) {
  const auto elements = static_cast<int64_t>(source.nbytes() / self.itemsize());
  return set_storage_(self, std::move(source), 0, {elements}, {});
}

Tensor& set_nothing_(Tensor& self) {
  const c10::DeviceGuard guard(self.device());
  return set_storage_(
      self, c10::Storage(c10::Storage::use_byte_size_t(), 0, c10::GetAllocator(device_type), true),
      0, {0}, {});
}

void record_stream(Tensor&, at::Stream) {}

at::Scalar value_of(const Tensor& self) {
  host_sync("reading the value of a tensor");
  const Access access;
  return at::_local_scalar_dense(host_view(self));
}

// Whether the device reads or writes the host's memory by itself, later.
bool is_asynchronous(const Tensor& to, const Tensor& from, bool non_blocking) {
  const Tensor& host = to.is_cpu() ? to : from;
  // LibTorch makes others alike first, in memory that is not pinned.
  const bool plain = host.is_non_overlapping_and_dense() &&
                     (to.is_cpu() || to.scalar_type() == from.scalar_type());
  return non_blocking && plain && pinned_heap().find(host.storage().data()).has_value();
}

Tensor& copy_(Tensor& self, const Tensor& source, bool non_blocking) {
  if (self.is_same(source) || self.numel() == 0) return self;
  const bool crosses = self.is_cpu() || source.is_cpu();
  if (crosses && !is_asynchronous(self, source, non_blocking))
    host_sync(self.is_cpu() ? "a blocking copy to the host" : "a blocking copy from the host");
  const Tensor to = unowned(host_view(self)), from = unowned(host_view(source));
  const auto copy = [to, from] {
    const at::AutoDispatchBelowADInplaceOrView below_autograd;
    const Access access;
    Tensor target = to;
    target.copy_(from);
  };
  if (Tape* tape = Tape::here()) {
    tape->will_write(to.storage().data());
    tape->uses(to.storage().data());
    tape->uses(from.storage().data());
    tape->append("copy_", copy);
  }
  copy();
  return self;
}

Tensor copy_from(const Tensor& self, const Tensor& to, bool non_blocking) {
  Tensor target = to;
  return copy_(target, self, non_blocking);
}

Tensor copy_from_and_resize(const Tensor& self, const Tensor& to) {
  to.resize_(self.sizes());
  return copy_from(self, to, false);
}

}  // namespace
}  // namespace trireme::emulated

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  using namespace trireme::emulated;
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("as_strided", at::native::as_strided_tensorimpl);
  library.impl("view", at::native::view);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("unfold", at::native::unfold);
  library.impl("resize_", resize_);
  library.impl("set_.source_Storage_storage_offset", set_storage_);
  library.impl("set_.source_Storage", set_whole_storage_);
  library.impl("set_.source_Tensor", at::native::set_tensor_);
  library.impl("set_", set_nothing_);
  library.impl("record_stream", record_stream);
  library.impl("_local_scalar_dense", value_of);
  library.impl("copy_", copy_);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  // LibTorch has other code for these on devices that it does not know, or none.
  for (const char* name :
       {"native_layer_norm", "native_group_norm", "convolution", "convolution_backward"})
    library.impl(name, torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

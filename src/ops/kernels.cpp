#include "ops/kernels.h"

#include <trireme/core/error.h>

#include <array>
#include <utility>

namespace trireme::ops {

namespace {

using Registered =
    std::array<std::unique_ptr<Kernels>, static_cast<size_t>(at::COMPILE_TIME_MAX_DEVICE_TYPES)>;

// Of the process, like LibTorch's own table of device types: back ends are never unloaded.
Registered& registered() {
  static auto* all = new Registered;
  return *all;
}

thread_local Kernels* scoped = nullptr;

}  // namespace

Kernels::~Kernels() = default;
MultiTensorUpdate::~MultiTensorUpdate() = default;

void register_kernels(at::DeviceType type, std::unique_ptr<Kernels> kernels) {
  registered()[static_cast<size_t>(type)] = std::move(kernels);
}

Kernels* registered_kernels(at::DeviceType type) {
  return registered()[static_cast<size_t>(type)].get();
}

Kernels* kernels_for(const at::Tensor& tensor) {
  if (scoped != nullptr) return scoped;
  if (tensor.is_cpu()) return nullptr;
  Kernels* const found = registered()[static_cast<size_t>(tensor.device().type())].get();
  if (found == nullptr)
    throw Error(ErrorKind::environment,
                "no kernels are loaded for tensors on " + tensor.device().str(),
                "load the device's back end before it is used (device::load_backend)");
  return found;
}

KernelScope::KernelScope(Kernels& kernels) : outer_(std::exchange(scoped, &kernels)) {}
KernelScope::~KernelScope() { scoped = outer_; }

}  // namespace trireme::ops

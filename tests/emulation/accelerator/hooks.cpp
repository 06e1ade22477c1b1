#include "hooks.h"

#include "allocators.h"
#include "emulated.h"
#include "generator.h"
#include "heap.h"
#include "streams.h"

#include <cstring>

#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Storage.h>

namespace trireme::emulated {
namespace {

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return device_count() > 0; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override {
    return static_cast<at::DeviceIndex>(device_count());
  }
  void setCurrentDevice(at::DeviceIndex device) const override { make_current(device); }
  at::DeviceIndex getCurrentDevice() const override {
    return static_cast<at::DeviceIndex>(current_device());
  }
  at::DeviceIndex exchangeDevice(at::DeviceIndex device) const override {
    const at::DeviceIndex outer = getCurrentDevice();
    make_current(device);
    return outer;
  }
  at::DeviceIndex maybeExchangeDevice(at::DeviceIndex device) const override {
    return exchangeDevice(device);
  }

  const at::Generator& getDefaultGenerator(at::DeviceIndex device) const override {
    return default_generator(device);
  }
  at::Generator getNewGenerator(at::DeviceIndex device) const override {
    return new_generator(device);
  }
  at::Device getDeviceFromPtr(void* address) const override {
    const auto block = device_heap().find(address);
    TORCH_CHECK(block.has_value(), "this is no memory of an emulated device");
    return {device_type, static_cast<at::DeviceIndex>(block->device)};
  }
  bool isPinnedPtr(const void* address) const override {
    return pinned_heap().find(address).has_value();
  }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator(); }

  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    const c10::DeviceGuard guard(storage.device());
    at::DataPtr memory = c10::GetAllocator(device_type)->allocate(bytes);
    const size_t kept = std::min(bytes, storage.nbytes());
    const Access access;
    if (kept > 0) std::memcpy(memory.mutable_get(), storage.data(), kept);
    storage.unsafeGetStorageImpl()->set_data_ptr_noswap(std::move(memory));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};

}  // namespace

void register_hooks() {
  at::RegisterPrivateUse1HooksInterface(new Hooks);
}

}  // namespace trireme::emulated

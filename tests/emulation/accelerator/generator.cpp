#include "generator.h"

#include "emulated.h"
#include "streams.h"

#include <mutex>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>

namespace trireme::emulated {
namespace {

class Generator final : public c10::GeneratorImpl {
 public:
  explicit Generator(c10::DeviceIndex device,
                     at::Generator inside = at::detail::createCPUGenerator())
      : GeneratorImpl({device_type, device}, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)),
        inside_(std::move(inside)) {}

  void set_current_seed(uint64_t seed) override { inside_.set_current_seed(seed); }
  void set_offset(uint64_t offset) override { inside_.set_offset(offset); }
  uint64_t get_offset() const override { return inside_.get_offset(); }
  uint64_t current_seed() const override { return inside_.current_seed(); }
  uint64_t seed() override { return inside_.seed(); }
  void set_state(const c10::TensorImpl& state) override {
    inside_.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return inside_.unsafeGetGeneratorImpl()->get_state();
  }
  const at::Generator& inside() const { return inside_; }

 private:
  Generator* clone_impl() const override { return new Generator(device_.index(), inside_.clone()); }

  at::Generator inside_;
};

std::vector<at::Generator> of_all_devices() {
  std::vector<at::Generator> all;
  for (int i = 0; i < device_count(); ++i)
    all.push_back(new_generator(static_cast<c10::DeviceIndex>(i)));
  return all;
}

}  // namespace

const at::Generator& default_generator(c10::DeviceIndex device) {
  static auto* const all = new std::vector<at::Generator>(of_all_devices());
  return all->at(static_cast<size_t>(device < 0 ? current_device() : device));
}

at::Generator new_generator(c10::DeviceIndex device) {
  return at::make_generator<Generator>(device < 0 ? static_cast<c10::DeviceIndex>(current_device())
                                                  : device);
}

const at::Generator& drawn_from(const at::Generator& generator) {
  return static_cast<const Generator*>(generator.unsafeGetGeneratorImpl())->inside();
}

at::Tensor generator_state(c10::DeviceIndex device) {
  return default_generator(device).get_state();
}

void set_generator_state(c10::DeviceIndex device, const at::Tensor& state) {
  at::Generator generator = default_generator(device);
  generator.set_state(state);
}

}  // namespace trireme::emulated

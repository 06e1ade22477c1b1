#include "emulation/simt/machine.h"
#include "support/emulated_kernels.h"
#include "unit/optim/device_under_test.h"

#include <array>

namespace trireme::optim {

namespace {

using cuda::emulation::Order;
constexpr std::array orders = {Order::ascending, Order::descending, Order::shuffled};

// An optimizer keeps the kernels that it was made with.
cuda::EmulatedKernels& kernels() {
  static auto* const all = new cuda::EmulatedKernels;
  return *all;
}

struct Serving {
  explicit Serving(std::optional<size_t> number) {
    if (number) order.emplace(orders[*number % orders.size()]);
  }
  std::optional<cuda::emulation::OrderScope> order;
  ops::KernelScope scope{kernels()};
};

}  // namespace

std::optional<c10::Device> device_under_test() {
  return c10::kCPU;
}
std::shared_ptr<void> serve_device(std::optional<size_t> order) {
  return std::make_shared<Serving>(order);
}
std::optional<uint64_t> kernel_launches() {
  return cuda::emulation::launches();
}

}  // namespace trireme::optim

#include "emulation/simt/machine.h"
#include "support/emulated_kernels.h"
#include "support/kernel_implementations.h"

namespace trireme::ops {

namespace {

// The CUDA kernels on the emulated machine, with this order of threads.
struct Emulation {
  explicit Emulation(cuda::emulation::Order of_threads) : order(of_threads) {}
  cuda::EmulatedKernels kernels;
  cuda::emulation::OrderScope order;
  KernelScope scope{kernels};
};

KernelImplementation emulated(const char* name, cuda::emulation::Order order) {
  return {name, c10::kCPU, true, [order] { return std::make_shared<Emulation>(order); }};
}

}  // namespace

const std::vector<KernelImplementation>& kernel_implementations() {
  using cuda::emulation::Order;
  static const std::vector<KernelImplementation> all = {
      {"cpu", c10::kCPU, false, [] { return nullptr; }},
      emulated("emulated", Order::ascending),
      emulated("emulated_backwards", Order::descending),
      emulated("emulated_shuffled", Order::shuffled),
  };
  return all;
}

}  // namespace trireme::ops

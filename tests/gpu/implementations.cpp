#include "support/kernel_implementations.h"

#include "gpu/device.h"

#include <gtest/gtest.h>

namespace trireme::ops {

// The contract of the operations (tests/contract/ops), on the GPU. The back end is loaded here, before a test seeds LibTorch.
const std::vector<KernelImplementation>& kernel_implementations() {
  static const bool there = gpu::is_there();
  static const std::vector<KernelImplementation> all = {{"cuda", gpu::device(), true, [] {
                                                           [] {
                                                             if (!there) GTEST_SKIP() << "no GPU";
                                                           }();
                                                           return std::shared_ptr<void>();
                                                         }}};
  return all;
}

}  // namespace trireme::ops

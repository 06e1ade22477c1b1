#pragma once

#include "ops/kernels.h"

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <c10/core/Device.h>

namespace trireme::ops {

/// One of those that must agree on every operation.
struct KernelImplementation {
  std::string name;
  c10::Device device = c10::kCPU;  ///< where its tensors lie
  bool kernels = false;            ///< ops::Kernels serve it; the operations' own code for the CPU otherwise
  /// Called in SetUp(): while the result lives, operations on `device` are of this implementation. May skip the test.
  std::function<std::shared_ptr<void>()> open;
};
inline std::ostream& operator<<(std::ostream& out, const KernelImplementation& implementation) { return out << implementation.name; }

/// Those of this program. Asked for before main().
[[nodiscard]] const std::vector<KernelImplementation>& kernel_implementations();

}  // namespace trireme::ops

#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/comm/device_communicator.h>

#include "cuda/comm/register.h"
#include "support/communicator_cases.h"

#include <algorithm>
#include <vector>

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cuda_runtime_api.h>

namespace trireme::test {

inline int gpus() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

/// The cases that hold on devices too.
inline std::vector<CommunicatorCase> device_cases() {
  std::vector<CommunicatorCase> cases;
  std::ranges::copy_if(communicator_cases::all, std::back_inserter(cases),
                       [](const CommunicatorCase& one) { return !one.on_host_only; });
  return cases;
}

/// As a trainer works: on its GPU, with a stream of its own, and with the cases' tensors there.
class OnGpu {
 public:
  explicit OnGpu(int index)
      : device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)),
        guard_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())) {
    cuda::register_nccl();
    communicator_cases::device = device;
  }
  ~OnGpu() { communicator_cases::device = at::kCPU; }
  OnGpu(const OnGpu&) = delete;
  OnGpu& operator=(const OnGpu&) = delete;

  [[nodiscard]] comm::CommunicatorPtr communicator(const comm::CommunicatorPtr& ranks) const {
    return comm::make_device_communicator(ranks, device);
  }

  const at::Device device;

 private:
  c10::cuda::CUDAStreamGuard guard_;
};

}  // namespace trireme::test

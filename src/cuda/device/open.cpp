#include <trireme/core/error.h>

#include "cuda/blas/cublas_kernels.h"
#include "cuda/comm/register.h"
#include "cuda/device/cuda_backend.h"
#include "ops/kernels.h"

#include <string_view>

#include <ATen/detail/CUDAHooksInterface.h>

/// See device::BackendEntry.
extern "C" __attribute__((visibility("default"))) trireme::device::Backend* trireme_open_backend(const char* version) {
  using namespace trireme;
  if (std::string_view(version) != TRIREME_VERSION) return nullptr;
  if (!at::detail::getCUDAHooks().hasCUDART())
    throw Error(ErrorKind::environment, "the CUDA back end was loaded too late: LibTorch has noted already that there is no CUDA",
                "call device::load_backend(\"cuda\") before anything asks LibTorch for devices, seeds it or runs a backward");
  ops::register_kernels(c10::DeviceType::CUDA, std::make_unique<cuda::CublasKernels>());
  cuda::register_nccl();
  return new cuda::CudaBackend;  // lives as long as the process
}

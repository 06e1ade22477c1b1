#include "cuda/device/cuda_backend.h"

#include <trireme/core/error.h>
#include <trireme/device/cores.h>
#include <trireme/storage/durable.h>

#include "cuda/device/graph.h"

#include <cstdlib>
#include <fstream>

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cublasLt.h>
#include <cuda_runtime.h>
#include <fmt/format.h>
#include <nccl.h>
#include <nvtx3/nvToolsExt.h>
#include <torch/csrc/cuda/memory_snapshot.h>

namespace trireme::cuda {
namespace {

/// That the allocator remembers; each has its stack.
constexpr size_t most_memory_events = 100'000;

/// As the driver's tools write it.
std::string uuid_text(const cudaUUID_t& uuid) {
  std::string text = "GPU";
  for (size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 0 || i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", static_cast<unsigned char>(uuid.bytes[i]));
  }
  return text;
}

std::vector<int> cores_near(const cudaDeviceProp& properties) {
  std::ifstream file(fmt::format("/sys/bus/pci/devices/{:04x}:{:02x}:{:02x}.0/local_cpulist", properties.pciDomainID,
                                 properties.pciBusID, properties.pciDeviceID));
  std::string list;
  std::getline(file, list);
  return device::parse_cores(list);
}

device::Accelerator describe(const cudaDeviceProp& properties) {
  return {.name = properties.name,
          .uuid = uuid_text(properties.uuid),
          .capability = fmt::format("{}.{}", properties.major, properties.minor),
          .memory_bytes = static_cast<int64_t>(properties.totalGlobalMem),
          .multiprocessors = properties.multiProcessorCount,
          .has_bf16 = properties.major >= 8,
          .has_fp8 = properties.major > 8 || (properties.major == 8 && properties.minor >= 9),
          .near_cores = cores_near(properties)};
}

/// Of numbers like 22809 (2.28.9) and 130100 (13.1.0).
std::string dotted(int64_t version) {
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

/// Of CUDA's own numbers, like 13000.
std::string cuda_release(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

}  // namespace

CudaBackend::CudaBackend() {
  int count = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&count); error != cudaSuccess) {
    reason_ = cudaGetErrorString(error);
    static_cast<void>(cudaGetLastError());
    return;
  }
  for (int index = 0; index < count; ++index) {
    cudaDeviceProp properties{};
    if (const cudaError_t error = cudaGetDeviceProperties(&properties, index); error != cudaSuccess)
      throw Error(ErrorKind::environment, fmt::format("GPU {} cannot be asked what it is: {}", index, cudaGetErrorString(error)),
                  "see what nvidia-smi says of it, or hide it with CUDA_VISIBLE_DEVICES");
    devices_.push_back(describe(properties));
  }
}

void CudaBackend::require(int index) const {
  check(index >= 0 && index < static_cast<int>(devices_.size()), "a device is named by its place among the visible ones");
}

void CudaBackend::use(int index) {
  require(index);
  const auto device = static_cast<c10::DeviceIndex>(index);
  c10::cuda::set_device(device);
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  c10::cuda::setCurrentCUDAStream(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device));
}

void CudaBackend::apply(const device::ComputeSettings& settings, int index) {
  require(index);
  if (settings.deterministic && settings.cudnn_benchmark)
    throw Error(ErrorKind::configuration, "a deterministic run cannot choose convolution algorithms by measuring",
                "set device.cudnn_benchmark to false");
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
  at::Context& context = at::globalContext();
  // These two set both families of LibTorch's switches; after setFloat32Precision() alone LibTorch's own queries of the other
  // family throw, in the middle of an operation.
  context.setAllowTF32CuBLAS(settings.tf32);
  context.setAllowTF32CuDNN(settings.tf32);
  context.setBenchmarkCuDNN(settings.cudnn_benchmark);
  // cuBLAS reads it with its first handle; one that a user set is kept.
  if (settings.deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  context.setDeterministicCuDNN(settings.deterministic);
  context.setDeterministicAlgorithms(settings.deterministic, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  c10::cuda::CUDACachingAllocator::setMemoryFraction(settings.memory_fraction, static_cast<c10::DeviceIndex>(index));
}

std::unique_ptr<device::Graph> CudaBackend::make_graph(int index) {
  require(index);
  const c10::cuda::CUDAGuard guard(static_cast<c10::DeviceIndex>(index));
  return std::make_unique<CudaGraph>(index);
}

device::Reading CudaBackend::read(int index) {
  require(index);
  return sensors_.read(devices_[static_cast<size_t>(index)].uuid);
}

void CudaBackend::begin_range(const char* name) { nvtxRangePushA(name); }

void CudaBackend::end_range() { nvtxRangePop(); }

bool CudaBackend::reaches(int from, int to) const {
  require(from);
  require(to);
  int possible = 0;
  return from == to || (cudaDeviceCanAccessPeer(&possible, from, to) == cudaSuccess && possible != 0);
}

void CudaBackend::record_memory_history(MemoryHistory what) {
  const std::optional<std::string> all = "all";
  torch::cuda::_record_memory_history(/*enabled=*/what == MemoryHistory::off ? std::nullopt : all,
                                      /*context=*/what == MemoryHistory::stacks ? all : std::nullopt,
                                      /*stacks=*/"all", most_memory_events);
}

bool CudaBackend::save_memory_snapshot(const std::string& path) {
  storage::replace_file(path, torch::cuda::_memory_snapshot_pickled());
  return true;
}

std::vector<std::pair<std::string, std::string>> CudaBackend::versions() const {
  int runtime = 0, driver = 0, nccl = 0;
  cudaRuntimeGetVersion(&runtime);
  const bool has_driver = cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0;
  ncclGetVersion(&nccl);
  const std::string number = sensors_.driver_version();
  std::string driver_text = has_driver ? fmt::format("{}{}for CUDA {}", number, number.empty() ? "" : ", ", cuda_release(driver)) : "none";
  if (!reason_.empty()) driver_text += ": " + reason_;
  return {{"driver", driver_text},
          {"CUDA runtime", cuda_release(runtime)},
          {"cuDNN", dotted(at::detail::getCUDAHooks().versionRuntimeCuDNN())},
          {"cuBLAS", dotted(static_cast<int64_t>(cublasLtGetVersion()))},
          {"NCCL", dotted(nccl)}};
}

}  // namespace trireme::cuda

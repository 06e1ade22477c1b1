#pragma once

#include <trireme/device/config.h>

#include <filesystem>
#include <optional>
#include <string>

#include <c10/core/Device.h>

namespace trireme::device {

/// What the machine shows of NVIDIA GPUs, found without calling a driver or LibTorch (either would
/// fix the process's view of CUDA before a back end is loaded).
struct GpuSigns {
  std::string node;                     ///< the first /dev/nvidia<N>, empty if there is none
  bool driver = false;                  ///< /proc/driver/nvidia exists
  std::optional<std::string> selected;  ///< CUDA_VISIBLE_DEVICES, if set

  /// True if a program that asked CUDA could see a GPU. CUDA_VISIBLE_DEVICES set to nothing or -1
  /// hides all of them.
  [[nodiscard]] bool visible() const;
};
[[nodiscard]] GpuSigns look_for_gpus(const std::filesystem::path& root = "/");

/// The device of this rank. This build computes on CPUs: `cuda`, and `auto` where a GPU is visible,
/// are refused with kind `environment`; `mps` and unknown types with kind `configuration`.
[[nodiscard]] c10::Device select(const DeviceConfig& config, const GpuSigns& signs);
[[nodiscard]] c10::Device select(const DeviceConfig& config);

}  // namespace trireme::device

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
  /// Them in words, for messages.
  [[nodiscard]] std::string text() const;
};
[[nodiscard]] GpuSigns look_for_gpus(const std::filesystem::path& root = "/");

/// The back end that serves device.type; empty for the CPU. `auto` takes cuda where a GPU is visible.
[[nodiscard]] std::string back_end_for(const DeviceConfig& config, const GpuSigns& signs);

/// Loads the back end that the configuration asks for, if any: early in main, before the world is joined and before LibTorch is
/// used (see load_backend). Error `environment`, never a fall-back to the CPU, if it cannot be loaded or has no device.
void open_back_end(const DeviceConfig& config);

/// What select() will return has this type. After open_back_end().
[[nodiscard]] c10::DeviceType device_type(const DeviceConfig& config);

/// The device number of a rank: its local rank, over and over where there are fewer devices than ranks on the host.
[[nodiscard]] int device_index(int local_rank, int visible);

/// The device of this rank, made the calling thread's and set up as configured. After open_back_end().
[[nodiscard]] c10::Device select(const DeviceConfig& config, int local_rank, bool deterministic = false);

}  // namespace trireme::device

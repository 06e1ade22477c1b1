#include <trireme/core/error.h>
#include <trireme/device/select.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

#include <fmt/format.h>

namespace trireme::device {
namespace {

constexpr std::string_view cpu_hint =
    "set device.type: cpu to train on the CPUs of this machine (CUDA_VISIBLE_DEVICES= hides its "
    "GPUs from auto)";

/// /dev also holds nvidiactl and nvidia-uvm, which exist without a card; only numbered nodes are
/// GPUs.
bool is_gpu_node(std::string_view name) {
  constexpr std::string_view prefix = "nvidia";
  if (!name.starts_with(prefix) || name.size() == prefix.size()) return false;
  name.remove_prefix(prefix.size());
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

bool GpuSigns::visible() const {
  if (selected && (selected->empty() || selected->starts_with("-1"))) return false;
  return !node.empty() || (driver && selected.has_value());
}

GpuSigns look_for_gpus(const std::filesystem::path& root) {
  GpuSigns signs;
  std::error_code ignored;
  std::vector<std::string> nodes;
  for (std::filesystem::directory_iterator at(root / "dev", ignored), end; at != end;
       at.increment(ignored))
    if (is_gpu_node(at->path().filename().string()))
      nodes.push_back(at->path().filename().string());
  if (!nodes.empty())
    signs.node = fmt::format("/dev/{}", *std::min_element(nodes.begin(), nodes.end()));
  signs.driver = std::filesystem::exists(root / "proc/driver/nvidia", ignored);
  if (const char* text = std::getenv("CUDA_VISIBLE_DEVICES")) signs.selected = text;
  return signs;
}

c10::Device select(const DeviceConfig& config, const GpuSigns& signs) {
  const c10::Device cpu(c10::DeviceType::CPU);
  const std::string found =
      signs.node.empty() ? "an NVIDIA driver and CUDA_VISIBLE_DEVICES" : signs.node;
  if (config.type == "cpu") return cpu;
  if (config.type == "auto") {
    if (!signs.visible()) return cpu;
    throw Error(
        ErrorKind::environment,
        fmt::format(
            "device.type: auto found a GPU ({}) but this build has no CUDA back end to load",
            found),
        std::string(cpu_hint));
  }
  if (config.type == "cuda") {
    throw Error(
        ErrorKind::environment,
        fmt::format("device.type: cuda asked for, but this build has no CUDA back end to load ({})",
                    signs.visible() ? "a GPU is visible: " + found : "and no GPU is visible"),
        std::string(cpu_hint));
  }
  if (config.type == "mps") {
    throw Error(ErrorKind::configuration,
                "device.type: mps is not supported: it has neither NCCL nor MPI to train with "
                "several ranks",
                "set device.type to auto, cpu or cuda");
  }
  throw Error(ErrorKind::configuration, fmt::format("device.type: '{}' is unknown", config.type),
              "set device.type to auto, cpu or cuda");
}

c10::Device select(const DeviceConfig& config) {
  return select(config, look_for_gpus());
}

}  // namespace trireme::device

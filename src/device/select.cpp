#include <trireme/core/error.h>
#include <trireme/device/backend.h>
#include <trireme/device/optimization.h>
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

std::string GpuSigns::text() const {
  if (!visible()) return "no GPU is visible";
  return "a GPU is visible: " + (node.empty() ? "an NVIDIA driver and CUDA_VISIBLE_DEVICES" : node);
}

std::string type_refusal(std::string_view type) {
  if (type == "auto" || type == "cpu" || type == "cuda" || is_installed(type)) return {};
  if (type == "mps") return "mps is not supported: it has neither NCCL nor MPI to train with several ranks";
  return fmt::format("'{}' is no device and no back end of that name is installed", type);
}

std::string back_end_for(const DeviceConfig& config, const GpuSigns& signs) {
  if (config.type == "cpu") return {};
  if (config.type == "auto") return signs.visible() ? "cuda" : "";
  return config.type;
}

void open_back_end(const DeviceConfig& config) {
  const GpuSigns signs = look_for_gpus();
  const std::string name = back_end_for(config, signs);
  if (name.empty()) return;
  const std::string asked = fmt::format("device.type: {} ({})", config.type, signs.text());
  Backend* backend = nullptr;
  try {
    backend = &load_backend(name);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", asked, error.message()), fmt::format("{}; or {}", error.hint(), cpu_hint));
  }
  if (!backend->devices().empty()) return;
  std::string versions;
  for (const auto& [library, version] : backend->versions())
    versions += fmt::format("{}{} {}", versions.empty() ? "" : ", ", library, version);
  throw Error(ErrorKind::environment, fmt::format("{}: the '{}' back end finds no device ({})", asked, name, versions),
              fmt::format("look at the driver with nvidia-smi and at CUDA_VISIBLE_DEVICES; or {}", cpu_hint));
}

c10::DeviceType device_type(const DeviceConfig& config) {
  const std::string name = back_end_for(config, look_for_gpus());
  return name.empty() ? c10::DeviceType::CPU : load_backend(name).type();
}

int device_index(int local_rank, int visible) {
  check(local_rank >= 0 && visible > 0, "a rank of a host with devices has a local rank");
  return local_rank % visible;
}

c10::Device select(const DeviceConfig& config, int local_rank, bool deterministic) {
  const std::string name = back_end_for(config, look_for_gpus());
  if (name.empty()) return c10::Device(c10::DeviceType::CPU);
  Backend& backend = load_backend(name);
  const int index = device_index(local_rank, static_cast<int>(backend.devices().size()));
  ComputeSettings settings = compute_settings(config, deterministic);
  const double bytes = static_cast<double>(backend.devices()[static_cast<size_t>(index)].memory_bytes);
  if (config.memory_limit_mib && bytes > 0)
    settings.memory_fraction = std::min(settings.memory_fraction, static_cast<double>(*config.memory_limit_mib << 20) / bytes);
  backend.use(index);
  backend.apply(settings, index);
  return c10::Device(backend.type(), static_cast<c10::DeviceIndex>(index));
}

}  // namespace trireme::device

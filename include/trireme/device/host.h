#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::device {

/// The machine as this process may use it.
struct Host {
  std::string name;
  std::string cpu;                            ///< model name
  std::string capability;                     ///< of LibTorch's kernels: DEFAULT, AVX2, AVX512, ...
  std::vector<int> cores;                     ///< the affinity mask
  std::vector<int> numa_nodes;                ///< that hold a core of the mask; empty where unknown
  int64_t memory_bytes = 0;                   ///< of the machine
  int64_t available_bytes = 0;                ///< that could be used without swapping
  std::optional<int64_t> memory_limit_bytes;  ///< of the control group, if there is one
};
[[nodiscard]] Host describe_host();

/// The host, the device that `auto` would take and the signs of GPUs, as one JSON object.
[[nodiscard]] std::string device_info();

/// Model name in the text of /proc/cpuinfo; "unknown" if it has none.
[[nodiscard]] std::string cpu_model(std::string_view cpuinfo);
/// Bytes of an entry ("MemTotal") in the text of /proc/meminfo; 0 if absent.
[[nodiscard]] int64_t meminfo_bytes(std::string_view meminfo, std::string_view entry);
/// NUMA nodes below `sysfs` (/sys/devices/system/node) that hold one of the cores.
[[nodiscard]] std::vector<int> numa_nodes_of(const std::vector<int>& cores,
                                             const std::filesystem::path& sysfs);
/// The smallest memory.max on the way from the control group of /proc/self/cgroup's text up to
/// `mount`.
[[nodiscard]] std::optional<int64_t> cgroup_limit(std::string_view self_cgroup,
                                                  const std::filesystem::path& mount);

}  // namespace trireme::device

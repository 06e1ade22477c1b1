#include <trireme/device/cores.h>
#include <trireme/device/host.h>
#include <trireme/device/select.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>

#include <ATen/Version.h>

#include <nlohmann/json.hpp>
#include <unistd.h>

namespace trireme::device {
namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

/// The text after the first colon of the first line that starts with `entry`.
std::string_view entry_of(std::string_view text, std::string_view entry) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (const size_t colon = line.find(':'); line.starts_with(entry) && colon != line.npos) {
      const size_t first = line.find_first_not_of(" \t", colon + 1);
      return first == line.npos ? std::string_view{} : line.substr(first);
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
}

std::optional<int64_t> integer_of(std::string_view text) {
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{}) return std::nullopt;
  return value;
}

}  // namespace

std::string cpu_model(std::string_view cpuinfo) {
  const std::string_view model = entry_of(cpuinfo, "model name");
  return model.empty() ? "unknown" : std::string(model);
}

int64_t meminfo_bytes(std::string_view meminfo, std::string_view entry) {
  return integer_of(entry_of(meminfo, entry)).value_or(0) * 1024;
}

std::vector<int> numa_nodes_of(const std::vector<int>& cores, const std::filesystem::path& sysfs) {
  std::vector<int> nodes;
  std::error_code ignored;
  for (std::filesystem::directory_iterator at(sysfs, ignored), end; at != end;
       at.increment(ignored)) {
    const std::string name = at->path().filename().string();
    if (!name.starts_with("node")) continue;
    const std::optional<int64_t> node = integer_of(std::string_view(name).substr(4));
    if (!node) continue;
    const std::vector<int> members = parse_cores(text_of(at->path() / "cpulist"));
    if (std::find_first_of(cores.begin(), cores.end(), members.begin(), members.end()) !=
        cores.end())
      nodes.push_back(static_cast<int>(*node));
  }
  std::sort(nodes.begin(), nodes.end());
  return nodes;
}

std::optional<int64_t> cgroup_limit(std::string_view self_cgroup,
                                    const std::filesystem::path& mount) {
  if (!self_cgroup.starts_with("0::/")) return std::nullopt;  // version 1, or none
  std::optional<int64_t> limit;
  std::filesystem::path group = self_cgroup.substr(4, self_cgroup.find('\n') - 4);
  while (true) {
    // A group without a limit holds the word "max".
    if (const auto bytes = integer_of(text_of(mount / group / "memory.max")))
      limit = std::min(limit.value_or(*bytes), *bytes);
    if (group.empty()) return limit;
    group = group.parent_path();
  }
}

Host describe_host() {
  Host host;
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  host.name = name.data();
  host.cpu = cpu_model(text_of("/proc/cpuinfo"));
  host.capability = at::get_cpu_capability();
  host.cores = affinity_cores();
  host.numa_nodes = numa_nodes_of(host.cores, "/sys/devices/system/node");
  const std::string meminfo = text_of("/proc/meminfo");
  host.memory_bytes = meminfo_bytes(meminfo, "MemTotal");
  host.available_bytes = meminfo_bytes(meminfo, "MemAvailable");
  host.memory_limit_bytes = cgroup_limit(text_of("/proc/self/cgroup"), "/sys/fs/cgroup");
  return host;
}

std::string device_info() {
  const Host host = describe_host();
  const GpuSigns signs = look_for_gpus();
  nlohmann::ordered_json json = {
      {"host", host.name},
      {"cpu", host.cpu},
      {"capability", host.capability},
      {"cores", host.cores.size()},
      {"core_list", format_cores(host.cores)},
      {"numa_nodes", host.numa_nodes},
      {"memory_bytes", host.memory_bytes},
      {"available_bytes", host.available_bytes},
      {"memory_limit_bytes", nullptr},
      {"gpu", {{"visible", signs.visible()}, {"node", signs.node}, {"driver", signs.driver}}},
  };
  if (host.memory_limit_bytes) json["memory_limit_bytes"] = *host.memory_limit_bytes;
  const std::string back_end = back_end_for(DeviceConfig{}, signs);
  json["device"] = back_end.empty() ? "cpu" : back_end;
  return json.dump(2);
}

}  // namespace trireme::device

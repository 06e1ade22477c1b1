#include <trireme/device/cores.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <sched.h>

namespace trireme::device {

std::vector<int> affinity_cores() {
  // cpu_set_t holds 1024 CPUs; a larger machine answers EINVAL until the set is large enough.
  for (size_t capacity = 1024; capacity <= 65536; capacity *= 2) {
    cpu_set_t* set = CPU_ALLOC(capacity);
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    CPU_ZERO_S(bytes, set);
    const bool ok = sched_getaffinity(0, bytes, set) == 0;
    std::vector<int> cores;
    for (size_t cpu = 0; ok && cpu < capacity; ++cpu)
      if (CPU_ISSET_S(cpu, bytes, set)) cores.push_back(static_cast<int>(cpu));
    CPU_FREE(set);
    if (ok) return cores;
  }
  return {0};
}

std::string format_cores(const std::vector<int>& cores) {
  std::string text;
  for (size_t i = 0; i < cores.size();) {
    size_t last = i;
    while (last + 1 < cores.size() && cores[last + 1] == cores[last] + 1) ++last;
    if (!text.empty()) text += ',';
    text += last == i ? fmt::format("{}", cores[i]) : fmt::format("{}-{}", cores[i], cores[last]);
    i = last + 1;
  }
  return text;
}

std::vector<int> parse_cores(std::string_view list) {
  std::vector<int> cores;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at < end) {
    int first = 0;
    auto result = std::from_chars(at, end, first);
    if (result.ec != std::errc{}) break;
    int last = first;
    if (result.ptr < end && *result.ptr == '-') {
      result = std::from_chars(result.ptr + 1, end, last);
      if (result.ec != std::errc{}) break;
    }
    for (int cpu = first; cpu <= last; ++cpu) cores.push_back(cpu);
    at = result.ptr;
    if (at < end && *at != ',') break;
    ++at;
  }
  return cores;
}

int fair_threads(const std::vector<int>& own_mask,
                 const std::vector<std::vector<int>>& local_masks) {
  double share = 0;
  for (const int cpu : own_mask) {
    const auto users = std::count_if(
        local_masks.begin(), local_masks.end(),
        [cpu](const auto& mask) { return std::find(mask.begin(), mask.end(), cpu) != mask.end(); });
    share += 1.0 / static_cast<double>(std::max<decltype(users)>(users, 1));
  }
  // Thirds of cores must add up to whole ones.
  return std::max(1, static_cast<int>(std::floor(share + 1e-9)));
}

}  // namespace trireme::device

#include <trireme/core/log.h>
#include <trireme/device/cores.h>
#include <trireme/device/tune.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include <ATen/Parallel.h>

#include <malloc.h>

namespace trireme::device {

int choose_threads(int fair, const char* omp_num_threads) {
  const std::string_view text = omp_num_threads == nullptr ? "" : omp_num_threads;
  int asked = 0;  // "4,2" names nested levels; the first one counts
  std::from_chars(text.data(), text.data() + text.size(), asked);
  return std::max(1, asked > 0 ? asked : fair);
}

int threads_of_shared_mask(int local_ranks) {
  return std::max(1, static_cast<int>(affinity_cores().size()) / std::max(1, local_ranks));
}

Tuning tune_process(int threads) {
  constexpr int gibibyte = 1 << 30;
  Tuning tuning;
  tuning.threads = choose_threads(threads, std::getenv("OMP_NUM_THREADS"));
  tuning.keeps_memory =
      mallopt(M_MMAP_THRESHOLD, gibibyte) == 1 && mallopt(M_TRIM_THRESHOLD, gibibyte) == 1;
  at::set_num_threads(tuning.threads);
  log::info("threads per rank: {} (cores {}); large blocks stay in the heap: {}", tuning.threads,
            format_cores(affinity_cores()), tuning.keeps_memory ? "yes" : "no");
  return tuning;
}

}  // namespace trireme::device

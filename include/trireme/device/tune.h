#pragma once

namespace trireme::device {

/// Threads one rank should use: OMP_NUM_THREADS if it holds a positive number, else `fair` (see
/// fair_threads, or the cores of the mask divided by the local ranks), at least 1.
[[nodiscard]] int choose_threads(int fair, const char* omp_num_threads);

/// Cores of the affinity mask divided by the ranks of this host; for launches that bind no rank.
[[nodiscard]] int threads_of_shared_mask(int local_ranks);

struct Tuning {
  int threads = 1;  ///< of LibTorch's pool on the calling thread
  bool keeps_memory =
      true;  ///< large blocks stay in the heap instead of being mapped anew each time
};

/// Start-up settings of the process; call once, early, on the thread that computes, and log the
/// result once. LibTorch's CPU allocator caches nothing, so glibc would map and fault in every
/// tensor above 32 MiB again and again; thresholds of 1 GiB keep them in the heap (measured: empty
/// + copy of 32 MiB 35 ms -> 4 ms). The number of threads is per thread in LibTorch: every other
/// thread that runs operations sets its own.
Tuning tune_process(int threads);

}  // namespace trireme::device

#pragma once

#include <trireme/parallel/config.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace trireme::parallel {

/// How much is reduced at a time. The first bucket starts communication early, the last is what
/// backward cannot hide: both may be smaller than the others.
struct BucketSizes {
  int64_t bytes = 0;
  int64_t first_bytes = 0;
  int64_t last_bytes = 0;
};

/// What a ring all-reduce of S bytes takes over a link: latency + S / bandwidth.
struct Link {
  double latency_seconds = 0;
  double bytes_per_second = 0;
};
/// A usual link between GPUs: of one host (eight H100 by NVLink) or of several (4 x 8 H100, 50 GB/s
/// a GPU); fits of published NCCL measurements. Not measured at the start of a run on purpose:
/// sizes that change from run to run change the order in which NCCL adds, and with it the bits.
[[nodiscard]] Link usual_gpu_link(bool one_host);

/// The configuration's sizes for gradients of `total_bytes`. Where they are automatic: without a
/// link (ranks on CPUs) a sixteenth of all, 1 to 25 MiB; else sqrt(latency * bandwidth * total),
/// where buckets are small enough to overlap and large enough to be fast, 4 to 256 MiB.
[[nodiscard]] BucketSizes bucket_sizes(const ParallelConfig& config, int64_t total_bytes,
                                       const std::optional<Link>& link = {});

/// Where one parameter's gradient lies in the flat buffer, in elements.
struct Slot {
  size_t parameter = 0;
  int64_t offset = 0;
  int64_t elements = 0;
};

/// A run of the flat buffer that is reduced at once. `elements` counts the padding too.
struct Bucket {
  int64_t offset = 0;
  int64_t elements = 0;
  std::vector<Slot> slots;
};

struct BucketPlan {
  std::vector<Bucket> buckets;    ///< in the order of their launch
  std::vector<size_t> bucket_of;  ///< by parameter
  int64_t elements = 0;           ///< of the flat buffer
};

/// Packs float32 gradients, given by their elements in the order of the parameters' first use, into
/// buckets in the reverse order: about that in which backward completes them. Each slot starts at a
/// multiple of 64 bytes. A parameter is never split: one larger than a bucket has its own. A
/// function of its arguments only, hence equal on all ranks.
[[nodiscard]] BucketPlan plan_buckets(std::span<const int64_t> parameter_elements,
                                      const BucketSizes& sizes);

}  // namespace trireme::parallel

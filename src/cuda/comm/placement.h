#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

namespace trireme::cuda {

/// What a rank tells the others about itself before they communicate between GPUs.
struct Placement {
  std::string host;
  int pid = 0;
  int device = 0;       ///< its index on the rank
  std::string uuid;     ///< the GPU's
  std::string library;  ///< NCCL's version
  std::string problem;  ///< why this rank cannot communicate; empty: it can
};
[[nodiscard]] std::string encode(const Placement& placement);
[[nodiscard]] Placement decode_placement(const std::string& text);

/// All ranks call it with all placements, so all throw alike: Error `environment` naming a rank
/// that cannot communicate, the ranks with different libraries, or two ranks on one GPU, which NCCL
/// refuses. `may_share`: they may.
void check_placements(std::span<const Placement> ranks, bool may_share);
[[nodiscard]] bool any_gpu_is_shared(std::span<const Placement> ranks);

/// Variables that let NCCL communicate between ranks on one GPU: it takes every process for a host
/// of its own, and all traffic goes through the host's loopback. For tests: slow, and not supported
/// by NVIDIA. To be set before NCCL's first use in the process.
[[nodiscard]] std::vector<std::pair<std::string, std::string>> sharing_environment(
    const Placement& mine);

}  // namespace trireme::cuda

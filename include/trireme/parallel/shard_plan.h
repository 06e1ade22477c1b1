#pragma once

#include <trireme/parallel/bucket_plan.h>

#include <cstdint>
#include <span>
#include <vector>

namespace trireme::parallel {

/// Parameters of one unit as a flat buffer that is cut into equal shards, one a rank. Each starts
/// at a multiple of 64 bytes (of float32); the end is padded so that the shards do too. All numbers
/// are elements.
struct ShardPlan {
  std::vector<Slot> slots;  ///< one a parameter, in their order
  int64_t shard = 0;        ///< of one rank
  int64_t elements = 0;     ///< of the whole buffer
};
[[nodiscard]] ShardPlan plan_shards(std::span<const int64_t> parameter_elements, int ranks);

/// What a rank's shard holds of one parameter; `elements` may be 0.
struct ShardPart {
  int64_t begin = 0;   ///< in the flattened parameter
  int64_t offset = 0;  ///< in the shard
  int64_t elements = 0;
};
/// One a parameter, in their order.
[[nodiscard]] std::vector<ShardPart> parts_of(const ShardPlan& plan, int rank);

/// Which ranks hold shards of one whole, and which hold the same shard: ranks of the world are cut
/// into groups of `shard_ranks` neighbours.
struct ShardGroups {
  int shard_ranks = 1;
  int group = 0;  ///< of this rank; equal in all ranks that share one whole
  int shard = 0;  ///< of this rank in its group; equal in all replicas of it
};
/// `local_sizes`: by rank, how many ranks its host has, for shard_group: node. Error
/// `configuration` where groups of this size do not divide the world.
[[nodiscard]] ShardGroups shard_groups(const ParallelConfig& config, int rank,
                                       std::span<const int> local_sizes);

}  // namespace trireme::parallel

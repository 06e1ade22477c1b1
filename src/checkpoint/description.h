#pragma once

#include <trireme/checkpoint/manifest.h>
#include <trireme/checkpoint/writer.h>

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace trireme::checkpoint {

// What the ranks tell each other of their state, without its values.

/// Scalars and replicated tensors, which are equal on all ranks: {"scalar x": value, ...}.
[[nodiscard]] nlohmann::json describe_common(const Collected& state);
/// Which one the two descriptions differ in, and how; empty if they are equal.
[[nodiscard]] std::string first_difference(const nlohmann::json& theirs,
                                           const nlohmann::json& mine);

/// The boxes of one rank.
struct ShardDescription {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  core::Box box;
};
[[nodiscard]] std::string to_text(const std::vector<ShardDescription>& shards);
[[nodiscard]] std::vector<ShardDescription> shards_from(std::string_view text);
[[nodiscard]] std::vector<ShardDescription> describe_shards(const Collected& state);

/// Empty if the boxes of all ranks make whole tensors; else what is wrong, with the tensor's name.
[[nodiscard]] std::string shards_problem(
    const std::vector<std::vector<ShardDescription>>& shards_of_rank);

}  // namespace trireme::checkpoint

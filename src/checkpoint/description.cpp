#include "checkpoint/description.h"

#include <trireme/storage/safetensors.h>

#include "checkpoint/boxes.h"
#include "checkpoint/scalar_json.h"

#include <map>

#include <fmt/core.h>

namespace trireme::checkpoint {
namespace {

using Json = nlohmann::json;

struct Gathered {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<core::Box> boxes;
};

}  // namespace

nlohmann::json describe_common(const Collected& state) {
  Json common = Json::object();
  for (const auto& [name, value] : state.scalars) common["scalar '" + name + "'"] = to_json(value);
  for (const auto& [name, values] : state.replicated)
    common["tensor '" + name + "'"] = {{"dtype", storage::safetensors_dtype(values.scalar_type())},
                                       {"shape", values.sizes().vec()}};
  return common;
}

std::string first_difference(const nlohmann::json& theirs, const nlohmann::json& mine) {
  for (const auto& [name, value] : theirs.items()) {
    const auto found = mine.find(name);
    if (found == mine.end()) return fmt::format("{}: not on this rank", name);
    if (*found != value || found->type() != value.type())
      return fmt::format("{}: {} here, {} on rank 0", name, found->dump(), value.dump());
  }
  for (const auto& [name, value] : mine.items())
    if (!theirs.contains(name)) return fmt::format("{}: not on rank 0", name);
  return {};
}

std::string to_text(const std::vector<ShardDescription>& shards) {
  Json json = Json::array();
  for (const ShardDescription& one : shards)
    json.push_back(Json::array({one.name, one.dtype, one.shape, one.box.offset, one.box.size}));
  return json.dump();
}

std::vector<ShardDescription> shards_from(std::string_view text) {
  std::vector<ShardDescription> shards;
  for (const Json& one : Json::parse(text))
    shards.push_back({one.at(0), one.at(1), one.at(2), {one.at(3), one.at(4)}});
  return shards;
}

std::vector<ShardDescription> describe_shards(const Collected& state) {
  std::vector<ShardDescription> shards;
  for (const auto& one : state.shards)
    shards.push_back({one.name, std::string(storage::safetensors_dtype(one.values.scalar_type())),
                      one.shape, one.box});
  return shards;
}

std::string shards_problem(const std::vector<std::vector<ShardDescription>>& shards_of_rank) {
  std::map<std::string, Gathered> tensors;
  for (size_t rank = 0; rank < shards_of_rank.size(); ++rank)
    for (const ShardDescription& one : shards_of_rank[rank]) {
      const auto [found, first] = tensors.try_emplace(one.name, Gathered{one.dtype, one.shape, {}});
      if (found->second.dtype != one.dtype || found->second.shape != one.shape)
        return fmt::format("tensor '{}' has another type or shape on rank {} than on a lower one",
                           one.name, rank);
      if (one.box.elements() > 0) found->second.boxes.push_back(one.box);
    }
  for (const auto& [name, tensor] : tensors)
    if (const std::string problem = coverage_problem(tensor.shape, tensor.boxes); !problem.empty())
      return fmt::format("tensor '{}': {}", name, problem);
  return {};
}

}  // namespace trireme::checkpoint

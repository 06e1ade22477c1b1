#include <trireme/core/error.h>
#include <trireme/parallel/shard_plan.h>

#include <algorithm>

#include <fmt/format.h>

namespace trireme::parallel {

namespace {

constexpr int64_t alignment = 16;  // float32 elements of 64 bytes

int64_t rounded_up(int64_t elements, int64_t multiple) {
  return (elements + multiple - 1) / multiple * multiple;
}

}  // namespace

ShardPlan plan_shards(std::span<const int64_t> parameter_elements, int ranks) {
  ShardPlan plan;
  int64_t end = 0;
  for (size_t i = 0; i < parameter_elements.size(); ++i) {
    plan.slots.push_back({i, end, parameter_elements[i]});
    end += rounded_up(parameter_elements[i], alignment);
  }
  plan.shard = rounded_up((end + ranks - 1) / ranks, alignment);
  plan.elements = plan.shard * ranks;
  return plan;
}

std::vector<ShardPart> parts_of(const ShardPlan& plan, int rank) {
  const int64_t first = plan.shard * rank, last = first + plan.shard;
  std::vector<ShardPart> parts;
  for (const Slot& slot : plan.slots) {
    const int64_t from = std::clamp(first, slot.offset, slot.offset + slot.elements);
    const int64_t to = std::clamp(last, from, slot.offset + slot.elements);
    if (from == to)
      parts.push_back({});
    else
      parts.push_back({from - slot.offset, from - first, to - from});
  }
  return parts;
}

ShardGroups shard_groups(const ParallelConfig& config, int rank, std::span<const int> local_sizes) {
  const auto ranks = static_cast<int64_t>(local_sizes.size());
  int64_t size = ranks;
  if (const auto* number = std::get_if<int64_t>(&config.shard_group)) size = *number;
  if (config.shard_group == std::variant<int64_t, std::string>("node")) {
    size = local_sizes.front();
    const auto other = std::ranges::find_if(local_sizes, [&](int local) { return local != size; });
    if (other != local_sizes.end())
      throw Error(ErrorKind::configuration,
                  fmt::format("parallel.shard_group: node needs equally many ranks on every host, "
                              "but there are {} and {}",
                              size, *other),
                  "start the same number of ranks on each host, or set parallel.shard_group to a "
                  "number that divides the ranks");
  }
  if (ranks % size != 0)
    throw Error(
        ErrorKind::configuration,
        fmt::format("parallel.shard_group: groups of {} do not divide {} ranks", size, ranks),
        "set it to a divisor of the number of ranks, or to world");
  return {static_cast<int>(size), static_cast<int>(rank / size), static_cast<int>(rank % size)};
}

}  // namespace trireme::parallel

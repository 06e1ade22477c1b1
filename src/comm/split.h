#pragma once

#include "comm/operation.h"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace trireme::comm {

/// What one rank says when a communicator is split.
struct Ballot {
  int32_t color = 0;
  int32_t key = 0;
  int32_t next_context = 0;  ///< the first context that none of its groups uses
};

struct Division {
  int context = 0;             ///< used by all groups of this split, also for ranks that got none
  std::optional<Group> group;  ///< nothing for a negative colour
};

/// The group of rank parent.rank after the ranks of `parent` have cast these ballots, by rank.
/// Groups of one split share no rank, so they may share the context.
[[nodiscard]] Division divide(const Group& parent, std::span<const Ballot> ballots,
                              const std::string& name);

}  // namespace trireme::comm

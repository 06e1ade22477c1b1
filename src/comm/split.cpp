#include "comm/split.h"

#include <algorithm>
#include <vector>

namespace trireme::comm {

Division divide(const Group& parent, std::span<const Ballot> ballots, const std::string& name) {
  Division division;
  for (const Ballot& ballot : ballots)
    division.context = std::max<int>(division.context, ballot.next_context);
  const int color = ballots[static_cast<std::size_t>(parent.rank)].color;
  if (color < 0) return division;

  std::vector<std::size_t> members;
  for (std::size_t r = 0; r < ballots.size(); ++r)
    if (ballots[r].color == color) members.push_back(r);
  std::stable_sort(members.begin(), members.end(),
                   [&](std::size_t a, std::size_t b) { return ballots[a].key < ballots[b].key; });

  Group group{parent.name + "/" + name, 0, {}, division.context};
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] == static_cast<std::size_t>(parent.rank)) group.rank = static_cast<int>(i);
    group.ranks.push_back(parent.ranks[members[i]]);
  }
  division.group = std::move(group);
  return division;
}

}  // namespace trireme::comm

#include "comm/peers.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace trireme::comm {

Crew::~Crew() = default;

std::string describe_missing(const Group& group, const std::vector<int>& world_ranks) {
  std::vector<int> ranks;
  for (const int world_rank : world_ranks) {
    const auto at = std::find(group.ranks.begin(), group.ranks.end(), world_rank);
    ranks.push_back(static_cast<int>(at - group.ranks.begin()));
  }
  return fmt::format("rank {} waits for rank{} {}", group.rank, ranks.size() == 1 ? "" : "s",
                     fmt::join(ranks, ", "));
}

std::unique_ptr<Flight> Peers::launch(std::vector<Message> messages, bool collective) {
  const Group& group = operation_->group();
  std::vector<Message> pieces;
  pieces.reserve(messages.size());
  for (Message message : messages) {
    if (message.bytes == 0 && !collective) continue;
    message.peer = group.ranks.at(static_cast<std::size_t>(message.peer));
    message.tag = 2 * group.context + (collective ? 0 : 1);
    const std::size_t longest = crew_.transport().longest();
    while (message.bytes > longest) {
      Message piece = message;
      piece.bytes = longest;
      pieces.push_back(piece);
      message.data += longest;
      message.bytes -= longest;
    }
    pieces.push_back(message);
  }
  return crew_.transport().launch(pieces);
}

void Peers::exchange(std::vector<Message> messages) {
  if (messages.empty()) return;
  const Health& health = operation_->health();
  std::unique_ptr<Flight> flight = launch(std::move(messages), true);
  try {
    for (int round = 0; !flight->landed(); ++round) {
      crew_.attend();
      health.throw_if_poisoned();
      if (operation_->overdue(steady_ns()))
        throw operation_->hang(describe_missing(operation_->group(), flight->missing()));
      crew_.transport().pause(round);
    }
  } catch (...) {
    crew_.bury(std::move(flight), operation_);
    throw;
  }
}

void Peers::post(std::vector<Message> messages) {
  posted_ = launch(std::move(messages), false);
}

}  // namespace trireme::comm

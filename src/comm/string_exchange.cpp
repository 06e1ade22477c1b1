#include "comm/string_exchange.h"

#include "comm/collectives.h"

#include <utility>

namespace trireme::comm {
namespace {

/// Makes room for the others' strings, whose lengths are known, and receives them.
void expect_strings(const Peers& peers, StringExchange& strings, std::vector<Message>& messages) {
  strings.all.resize(strings.lengths.size());
  for (int r = 0; r < peers.size(); ++r) {
    const auto at = static_cast<std::size_t>(r);
    if (r == peers.rank()) {
      strings.all[at] = strings.mine;
      continue;
    }
    strings.all[at].resize(strings.lengths[at]);
    if (strings.lengths[at] > 0)
      messages.push_back(receiving(r, strings.all[at].data(), strings.all[at].size()));
  }
}

}  // namespace

void gather_strings(Peers& peers, StringExchange& strings, int root) {
  strings.length = strings.mine.size();
  std::vector<Message> messages;
  if (peers.rank() != root) {
    messages.push_back(sending(root, &strings.length, sizeof strings.length));
    if (strings.length > 0)
      messages.push_back(sending(root, strings.mine.data(), strings.mine.size()));
    return peers.exchange(std::move(messages));
  }
  strings.lengths.resize(static_cast<std::size_t>(peers.size()));
  for (int r = 0; r < peers.size(); ++r)
    if (r != root)
      messages.push_back(
          receiving(r, &strings.lengths[static_cast<std::size_t>(r)], sizeof(uint64_t)));
  peers.exchange(std::exchange(messages, {}));
  expect_strings(peers, strings, messages);
  peers.exchange(std::move(messages));
}

void all_gather_strings(Peers& peers, StringExchange& strings) {
  strings.length = strings.mine.size();
  strings.lengths.resize(static_cast<std::size_t>(peers.size()));
  all_gather(peers, reinterpret_cast<std::byte*>(strings.lengths.data()),
             reinterpret_cast<const std::byte*>(&strings.length), sizeof strings.length);
  std::vector<Message> messages;
  expect_strings(peers, strings, messages);
  if (strings.length > 0)
    for (int r = 0; r < peers.size(); ++r)
      if (r != peers.rank())
        messages.push_back(sending(r, strings.mine.data(), strings.mine.size()));
  peers.exchange(std::move(messages));
}

void broadcast_string(Peers& peers, StringExchange& strings, int root) {
  strings.length = strings.mine.size();
  broadcast(peers, reinterpret_cast<std::byte*>(&strings.length), sizeof strings.length, root);
  strings.mine.resize(strings.length);
  broadcast(peers, reinterpret_cast<std::byte*>(strings.mine.data()), strings.mine.size(), root);
}

}  // namespace trireme::comm

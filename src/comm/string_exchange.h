#pragma once

#include "comm/peers.h"

#include <cstdint>
#include <string>
#include <vector>

namespace trireme::comm {

/// Strings of any lengths on their way between ranks. Owned by the operation, so that the memory
/// outlives a failed exchange.
struct StringExchange {
  std::string mine;
  std::vector<std::string> all;  ///< the result

  uint64_t length = 0;
  std::vector<uint64_t> lengths;
};

/// `all` becomes one string a rank on `root`, and stays empty elsewhere.
void gather_strings(Peers& peers, StringExchange& strings, int root);
/// `all` becomes one string a rank.
void all_gather_strings(Peers& peers, StringExchange& strings);
/// `mine` becomes the root's.
void broadcast_string(Peers& peers, StringExchange& strings, int root);

}  // namespace trireme::comm

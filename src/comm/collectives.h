#pragma once

#include "comm/peers.h"
#include "comm/reduction.h"

#include <cstddef>

namespace trireme::comm {

// The collective operations in terms of messages, run by the communication thread of every rank of
// the group.
//
// Ranks exchange directly: each sends every other one its part, and the owner of a part reduces the
// ranks' contributions in rank order (reduce-scatter), after which the parts are gathered. One step
// where a ring takes n-1, the least data moved, and results that depend neither on timing nor on
// the MPI library: see Thakur, Rabenseifner and Gropp, Optimization of Collective Communication
// Operations in MPICH (2005), for the trade-off between the two. Large operations are cut into
// pieces that stay in the caches; single large calls were measured to be four times slower.

void all_reduce(Peers& peers, std::byte* values, std::size_t count, const Reduction& reduction);
/// `in` holds one part of `count` elements a rank. `out` may be the own part of `in`.
void reduce_scatter(Peers& peers, std::byte* out, const std::byte* in, std::size_t count,
                    const Reduction& reduction);
/// `out` holds one part of `bytes` a rank. `in` may be the own part of `out`.
void all_gather(Peers& peers, std::byte* out, const std::byte* in, std::size_t bytes);
void all_to_all(Peers& peers, std::byte* out, const std::byte* in, std::size_t bytes);
void broadcast(Peers& peers, std::byte* values, std::size_t bytes, int root);
void barrier(Peers& peers);

}  // namespace trireme::comm

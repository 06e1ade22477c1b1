#include "comm/roll.h"

#include <utility>

namespace trireme::comm {

Roll::Roll(std::vector<std::string> hosts) : hosts_(std::move(hosts)) {}

bool Roll::judge(const Failure& failure) {
  if (verdict_) return false;
  verdict_ = failure;
  return true;
}

bool Roll::lose(int rank) {
  if (!lost_.insert(rank).second || departed_.contains(rank)) return false;
  Failure failure;
  failure.kind = ErrorKind::peer_lost;
  failure.rank = rank;
  failure.host = hosts_.at(static_cast<std::size_t>(rank));
  failure.message = "rank " + std::to_string(rank) + " on " + failure.host +
                    " was lost: its process ended without saying goodbye";
  failure.hint =
      "see that rank's log and the kernel's (out of memory, a signal, hardware); the run resumes "
      "from its last checkpoint with the same command";
  return judge(failure);
}

void Roll::hear_ready(int rank, bool wrote) {
  ready_.insert(rank);
  wrote_ = wrote_ || wrote;
}

bool Roll::lives(int rank) const {
  return !lost_.contains(rank) && !departed_.contains(rank);
}

int Roll::first_survivor() const {
  const int size = static_cast<int>(hosts_.size());
  for (int rank = 0; rank < size; ++rank)
    if (lives(rank)) return rank;
  return size - 1;
}

bool Roll::may_leave() const {
  if (!wrote_) return false;
  for (int rank = 0; rank < static_cast<int>(hosts_.size()); ++rank)
    if (lives(rank) && !ready_.contains(rank)) return false;
  return true;
}

}  // namespace trireme::comm

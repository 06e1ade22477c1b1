#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <trireme/comm/communicator.h>

namespace trireme::trainer {

/// One line for each line `key = value` in which the ranks' texts differ, ranks grouped by value:
/// "optim.lr: 0.001 on ranks 0, 2; 0.002 on rank 1". Keys that a rank lacks show as "(absent)". Empty if all are equal.
[[nodiscard]] std::vector<std::string> differences_between_ranks(const std::vector<std::string>& texts);

/// Called by all ranks. Throws kind `ranks_differ` on every rank, with the lines above, unless all gave the same text.
/// `what` names the subject, e.g. "configuration"; `hint` says what to do.
void require_equal(comm::Communicator& all, std::string_view what, const std::string& text, const std::string& hint);

/// Runs `action` on rank 0 alone and returns its text on every rank; an Error of rank 0 is thrown on every rank. For what one
/// rank decides for all: what exists on a shared file system, who holds a lock.
std::string on_rank_0(comm::Communicator& all, const std::function<std::string()>& action);

}  // namespace trireme::trainer

#pragma once

#include <string_view>

namespace trireme::core::fault {

/// A place where a failure can be provoked from outside: TRIREME_FAULT=site:rank:step:action[,...] with `*` for any rank or
/// step; `site#n` acts the n-th time only (from 1, of this process). An action is one of kill | stop | abort | segv | throw | sleep=MS | leak=MIB |
/// nan | enospc | eio. Costs one load where no fault is set. kill, stop, abort, segv, sleep and leak act on the own process, throw
/// raises an Error; the rest is returned for the caller to act out.
enum class Action { none, nan, enospc, eio };
[[nodiscard]] Action at(std::string_view site);

/// The own rank and the current step, for matching; -1 until known.
void set_rank(int rank);
void set_step(long step);

}  // namespace trireme::core::fault

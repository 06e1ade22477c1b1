#pragma once

#include <trireme/report/run_paths.h>

#include <string>

namespace trireme::report {

/// What the folder of a run tells about it, as the text of one JSON object of bounded size, however
/// long the run and however many its ranks: what `report --json` prints and report.html shows.
///
///   run, path, made     the folder's name, where it is, when it was read
///   state               finished | stopped | failed | running | lost | empty
///   exit, report, operators   exit.json, report.json, operators.json, or null; `report` is made
///                       from the metrics where it was not written, or by an attempt before:
///                       `estimated` says so, and `note` why; its goodput is the latest that
///                       goodput.json has
///   metrics             {lines, columns: {name: [value of a logged step]}}: at most 2,000 steps,
///                       the extremes among them; a spread over ranks gives its mean, as
///                       phases/data, and those of memory the largest, as memory/peak/max and
///                       /max_rank
///   eval, events, debug, config
///   unread              files, or lines of files, that are damaged
///
/// `held`: a process that lives holds run.lock, so that a run without exit.json goes on. May be
/// called while it does, and after it was killed: what is absent is left out. Throws kind
/// input_missing if there is no run folder.
[[nodiscard]] std::string run_records(const RunPaths& paths, bool held);

}  // namespace trireme::report

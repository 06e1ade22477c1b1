#pragma once

#include <trireme/report/trace.h>

#include <cstdint>
#include <filesystem>

namespace trireme::report {

/// Takes a trace of write_trace() apart into one file a rank as Holistic Trace Analysis and
/// TensorBoard's profiler plugin want them: `dir`/rank003.<unix ms>.pt.trace.json.gz. Returns how
/// many were written. Needs the memory of one line, however large the trace.
///
/// Errors: input_missing; data_damaged for what is no such trace or was cut short; storage. The
/// files appear together once all are whole; after an Error none of them is there.
int write_hta(const std::filesystem::path& trace, const std::filesystem::path& dir);

/// The same file of one rank, from what it recorded itself: each rank for itself, after
/// write_trace(), whose time it keeps. Beyond `max_bytes` of JSON the newest records stay. The file
/// appears at once, or, with an Error of kind `storage`, not at all.
void write_rank_trace(const TracePart& mine, int rank, int ranks, const TraceSummary& merged,
                      const std::filesystem::path& file,
                      int64_t max_bytes = TraceLimits{}.rank_bytes);

}  // namespace trireme::report

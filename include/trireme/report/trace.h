#pragma once

#include <trireme/comm/clock.h>
#include <trireme/comm/communicator.h>
#include <trireme/core/error.h>
#include <trireme/telemetry/operator_trace.h>
#include <trireme/telemetry/recorder.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace trireme::report {

struct MemorySample {
  int64_t at_ns = 0;
  int64_t allocated = 0;  ///< bytes
  int64_t reserved = 0;
};

/// What one rank recorded. All times are of its own telemetry::now_ns(), and steps are those that
/// were complete when one began; in the file they count from 1.
struct TracePart {
  std::string host;
  int pid = 0;
  std::vector<telemetry::SpanRecord> spans;  ///< their names and groups outlive the call
  std::vector<std::string> thread_names;     ///< SpanLog::thread_names()
  telemetry::OperatorTrace operators;
  /// SpanRecord::thread of the thread whose operators have thread 0: they are shown inside its
  /// spans. -1: beside them.
  int operator_thread = -1;
  std::vector<telemetry::StepRecord> steps;
  std::vector<std::pair<int64_t, int64_t>> step_times;  ///< step and its start, ascending
  std::vector<MemorySample> memory;
  comm::ClockOffset clock_at_begin;
  comm::ClockOffset clock_at_end;
  int64_t dropped = 0;  ///< records that were lost before
};

/// The same on all ranks.
struct TraceSummary {
  int64_t events = 0;   ///< lines of the file that are events, names of threads included
  int64_t dropped = 0;  ///< records of all ranks that are not in the file
  int64_t json_bytes = 0;
  int64_t file_bytes = 0;
  int64_t held_bytes = 0;  ///< the most of the file that rank 0 held at once
  int64_t base_ns = 0;     ///< the file's time 0, in rank 0's clock
  int64_t base_unix_ns = 0;
};

/// How much JSON a trace may become.
struct TraceLimits {
  int64_t rank_bytes = int64_t{256} << 20;
  int64_t total_bytes = int64_t{1} << 30;  ///< of all ranks, in equal shares
  [[nodiscard]] int64_t of_each(int ranks) const {
    return std::min(rank_bytes, total_bytes / std::max(1, ranks));
  }
};

/// Why there is no trace, thrown on all ranks alike: the disk (kind `storage`), or what a rank
/// could not do. The ranks still understand each other.
class TraceFailure final : public Error {
 public:
  using Error::Error;
};

/// Writes what all ranks recorded into ONE file in Chrome's trace format, gzipped, as Perfetto and
/// others open it: a process a rank, times in microseconds of rank 0's clock, steps as
/// `ProfilerStep#N`, collectives of one call linked across ranks. Every event has a line of its own
/// that begins with `{"pid":RANK`, ranks come one after the other.
///
/// All ranks call, with a communicator that moves tensors of the CPU. Each rank formats and
/// compresses its own part; of others' rank 0 holds one chunk of 2 MiB at a time. A rank whose part
/// would exceed its share of `limits` keeps its newest records; the file says how many are missing.
/// The file appears at once, or, with a TraceFailure, not at all. Errors of communication are
/// thrown as everywhere.
TraceSummary write_trace(comm::Communicator& all, const TracePart& mine,
                         const std::filesystem::path& file, const TraceLimits& limits = {});

}  // namespace trireme::report

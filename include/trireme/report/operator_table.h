#pragma once

#include <trireme/comm/communicator.h>
#include <trireme/telemetry/operator_trace.h>
#include <trireme/telemetry/span_log.h>
#include <trireme/telemetry/statistics.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace trireme::report {

/// What one rank spent under one name.
struct OperatorRow {
  std::string name;
  telemetry::OperatorEvent::Kind kind = telemetry::OperatorEvent::Kind::operation;
  int64_t calls = 0;
  double self_seconds = 0;   ///< without what ran inside
  double total_seconds = 0;  ///< of those that are not inside one of the same name
  int64_t flops = 0;
  int64_t bytes = 0;  ///< allocated less freed, without what ran inside
};

/// Where one rank's host waited for a device, or fetched a number from a tensor.
struct HostSyncRow {
  std::string name;
  std::string inside;  ///< the innermost range or span around it; empty: none
  int64_t calls = 0;
  double seconds = 0;
};

/// The operations of a trace by name and kind, by falling self time, and the host's waits, by
/// falling seconds. On a thread, or a stream, self times add up to the time that is covered.
struct OperatorTable {
  std::vector<OperatorRow> operators;
  std::vector<HostSyncRow> host_syncs;  ///< empty where the host computes: it waits for nobody
  bool on_device = false;               ///< as operator_table() was told
};
/// `spans`: of the thread that has number 0 in the trace. `on_device`: the rank computes on a
/// device, so that operations on the host last as long as it takes to launch them.
[[nodiscard]] OperatorTable operator_table(const telemetry::OperatorTrace& trace,
                                           std::span<const telemetry::SpanRecord> spans,
                                           bool on_device);

/// The same over the ranks that recorded. Numbers are means over them, spreads name ranks of the
/// communicator; of a rank that lacks a name they hold 0.
struct OperatorSpread {
  std::string name;
  telemetry::OperatorEvent::Kind kind = telemetry::OperatorEvent::Kind::operation;
  double calls = 0;
  telemetry::Spread self_seconds, total_seconds;
  double share =
      0;  ///< of the self time of all, on the host or on the device, whichever it runs on
  double flops = 0;
  /// Over its total time; unknown for what a device computed, which the host has only launched.
  std::optional<double> flops_per_second;
  double bytes = 0;
};
struct HostSyncSpread {
  std::string name, inside;
  double calls = 0;
  telemetry::Spread seconds;
};
struct OperatorReport {
  int64_t first_step = 0, last_step = 0;
  int ranks = 0;                          ///< that recorded
  int64_t dropped = 0;                    ///< events of all ranks that there was no room for
  std::vector<OperatorSpread> operators;  ///< the first 200 by self time
  std::vector<HostSyncSpread> host_syncs;
};

/// What a rank tells of its table for merged_operators(); empty for null: nothing was recorded.
[[nodiscard]] std::string packed_operators(const OperatorTable* mine, int64_t dropped);
/// Of what all ranks told, in their order; nothing if none recorded.
[[nodiscard]] std::optional<OperatorReport> merged_operators(std::span<const std::string> ranks);
/// Both: all ranks call. The report on rank 0 if any rank recorded, else nothing.
[[nodiscard]] std::optional<OperatorReport> reduce_operators(comm::Communicator& ranks,
                                                             const OperatorTable* mine,
                                                             int64_t dropped);

/// The text of operators.json.
[[nodiscard]] std::string operators_json(const OperatorReport& report,
                                         std::span<const std::string> hosts, int64_t attempt);
/// A table for people, of the first `rows` rows; lines end with a newline.
[[nodiscard]] std::string operators_text(const OperatorReport& report, size_t rows = 20);

}  // namespace trireme::report

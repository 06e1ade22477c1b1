#pragma once

#include <trireme/report/trace.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace trireme::report {

/// A rank's clock in the trace's time: nanoseconds since the base, which is in rank 0's clock.
class TraceClock {
 public:
  TraceClock(const TracePart& part, int64_t base_ns)
      : begin_(part.clock_at_begin), end_(part.clock_at_end), base_ns_(base_ns) {}
  [[nodiscard]] int64_t operator()(int64_t own_ns) const {
    return comm::to_rank0(begin_, end_, own_ns) - base_ns_;
  }

 private:
  comm::ClockOffset begin_, end_;
  int64_t base_ns_;
};

// Numbers of a rank's threads in the trace; not 0, which Perfetto takes for the idle thread.
constexpr int64_t first_span_thread = 1;
constexpr int64_t steps_thread = 90;  // and of what belongs to the rank as a whole
constexpr int64_t units_thread = 91;
constexpr int64_t first_communication_thread = 100;
constexpr int64_t first_operator_thread = 5000;
/// Of a device: of its stream 0.
[[nodiscard]] constexpr int64_t first_stream(int device) {
  return 10'000 * (int64_t{device} + 1);
}

[[nodiscard]] inline bool on_stream(const telemetry::OperatorEvent& event) {
  using Kind = telemetry::OperatorEvent::Kind;
  return event.kind == Kind::kernel || event.kind == Kind::copy;
}
[[nodiscard]] int64_t thread_of(const telemetry::OperatorEvent& event, int operator_thread);

/// The thread that shows a span; `lane` as for TraceLines::span().
[[nodiscard]] int64_t thread_of(const telemetry::SpanRecord& span, int lane);

/// For whom lines are written: the file of all ranks, or the file of one rank for tools that know
/// PyTorch's categories alone and nothing of other ranks.
enum class TraceDialect { merged, one_rank };

/// Formats what one rank recorded. Lines are appended to a text, separated by ",\n"; each function
/// returns how many.
class TraceLines {
 public:
  /// `first`: nothing precedes the first line.
  TraceLines(const TracePart& part, int rank, int64_t base_ns, TraceDialect dialect, bool first);

  int process(std::string& out);
  int thread(std::string& out, int64_t thread, std::string_view name);
  int step(std::string& out, int64_t number, int64_t start_ns, int64_t end_ns);
  int memory(std::string& out, const MemorySample& sample);
  /// `lane`: of those threads that show communication; -1 for the span's own.
  int span(std::string& out, const telemetry::SpanRecord& record, int lane);
  int operation(std::string& out, const telemetry::OperatorEvent& event);

  /// Lines so far of what has a duration.
  [[nodiscard]] int64_t completes() const { return completes_; }

 private:
  void begin(std::string& out, int64_t thread, char phase);
  void complete(std::string& out, int64_t thread, std::string_view category, std::string_view name,
                int64_t start_ns, int64_t duration_ns);
  int links(std::string& out, const telemetry::SpanRecord& record, int64_t thread);
  void link(std::string& out, int64_t thread, char phase, std::string_view name, uint64_t id,
            int64_t at);
  int launch(std::string& out, const telemetry::OperatorEvent& event, int64_t thread);
  [[nodiscard]] std::string_view string_at(uint32_t index) const;
  [[nodiscard]] uint64_t hash_of_group(const char* group);

  const TracePart& part_;
  const int rank_;
  const TraceClock clock_;
  const TraceDialect dialect_;
  bool first_;
  int64_t completes_ = 0;
  std::string pid_;  // {"pid":3,"tid":
  const char* hashed_group_ = nullptr;
  uint64_t group_hash_ = 0;
};

}  // namespace trireme::report

#include "report/trace_part.h"

#include "report/trace_order.h"
#include "report/trace_text.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace trireme::report {
namespace {

/// One rank's records in the order in which they are written.
class Formatter {
 public:
  Formatter(const TracePart& part, int rank, int64_t base_ns, TraceDialect dialect)
      : part_(part),
        rank_(rank),
        base_ns_(base_ns),
        dialect_(dialect),
        spans_(order_of(part.spans)),
        lanes_(communication_lanes(part.spans, spans_)),
        operations_(order_of(part.operators.events)),
        steps_(step_intervals(part)),
        memory_(memory_samples(part)) {}

  PartCounts write(int64_t max_bytes, GzipPart& out) {
    const bool first = rank_ == 0 || dialect_ == TraceDialect::one_rank;
    TraceLines lines(part_, rank_, base_ns_, dialect_, first);
    PartCounts counts;
    counts.events += lines.process(out.text());
    for (const auto& [thread, name] : threads())
      counts.events += lines.thread(out.text(), thread, name);
    out.line_ended();
    const int64_t room = max_bytes - out.text_bytes() - static_cast<int64_t>(out.text().size());
    const int64_t from = bound() > room ? oldest_that_fits(room) : no_limit;
    for_each(lines, out.text(), [&](int64_t at_ns, const auto& format) {
      if (at_ns < from) {
        ++counts.dropped;
        return;
      }
      counts.events += format();
      out.line_ended();
    });
    counts.completes = lines.completes();
    return counts;
  }

 private:
  static constexpr int64_t no_limit = std::numeric_limits<int64_t>::min();

  /// Calls `take` for each record with its start and a function that appends its lines to `out`.
  template <class Take>
  void for_each(TraceLines& lines, std::string& out, const Take& take) const {
    for (const StepInterval& step : steps_)
      take(step.start_ns, [&] { return lines.step(out, step.step, step.start_ns, step.end_ns); });
    for (const MemorySample& sample : memory_)
      take(sample.at_ns, [&] { return lines.memory(out, sample); });
    for (const uint32_t i : spans_)
      take(part_.spans[i].start_ns, [&] { return lines.span(out, part_.spans[i], lanes_[i]); });
    for (const uint32_t i : operations_)
      take(part_.operators.events[i].start_ns,
           [&] { return lines.operation(out, part_.operators.events[i]); });
  }

  /// Not less than what all records take.
  [[nodiscard]] int64_t bound() const {
    constexpr int64_t line = 512;  // all but texts; with its links
    constexpr int64_t escaped = 6;
    const auto text = [](std::string_view value) {
      return escaped * static_cast<int64_t>(std::min(value.size(), longest_trace_text));
    };
    int64_t bytes = line * static_cast<int64_t>(steps_.size() + memory_.size() + spans_.size() +
                                                operations_.size());
    for (const auto& span : part_.spans) {
      if (span.name != nullptr) bytes += 2 * text(span.name);
      if (span.group != nullptr) bytes += 2 * text(span.group);
    }
    const auto& strings = part_.operators.strings;
    for (const auto& event : part_.operators.events)
      for (const uint32_t index : {event.name, event.shapes, event.stack})
        if (index < strings.size()) bytes += text(strings[index]);
    return bytes;
  }

  /// From when on all records fit into `room`.
  [[nodiscard]] int64_t oldest_that_fits(int64_t room) const {
    std::vector<std::pair<int64_t, int64_t>> sizes;  // start, bytes
    TraceLines lines(part_, rank_, base_ns_, dialect_, false);
    std::string scratch;
    for_each(lines, scratch, [&](int64_t at_ns, const auto& format) {
      static_cast<void>(format());
      sizes.emplace_back(at_ns, static_cast<int64_t>(scratch.size()));
      scratch.clear();
    });
    std::sort(sizes.begin(), sizes.end(), std::greater<>());
    for (const auto& [at_ns, bytes] : sizes) {
      room -= bytes;
      if (room < 0) return at_ns + 1;
    }
    return no_limit;
  }

  [[nodiscard]] std::map<int64_t, std::string> threads() const {
    std::map<int64_t, std::string> names;
    if (!steps_.empty()) names[steps_thread] = "steps";
    std::set<int> seen, lanes;
    for (size_t i = 0; i < part_.spans.size(); ++i) {
      if (lanes_[i] >= 0)
        lanes.insert(lanes_[i]);
      else if (thread_of(part_.spans[i], -1) == units_thread)
        names[units_thread] = "units";
      else
        seen.insert(part_.spans[i].thread);
    }
    if (part_.operator_thread >= 0 && !operations_.empty()) seen.insert(part_.operator_thread);
    for (const int thread : seen) {
      const auto at = static_cast<size_t>(thread);
      names[first_span_thread + thread] = thread >= 0 && at < part_.thread_names.size()
                                              ? part_.thread_names[at]
                                              : "thread " + std::to_string(thread);
    }
    for (const int lane : lanes)
      names[first_communication_thread + lane] =
          lane == 0 ? "communication" : "communication " + std::to_string(lane + 1);
    for (const auto& event : part_.operators.events) {
      const int64_t thread = thread_of(event, part_.operator_thread);
      if (thread < first_operator_thread) continue;
      std::string& name = names[thread];
      if (!name.empty()) continue;
      if (!on_stream(event))
        name = "operators, thread " + std::to_string(event.thread);
      else if (event.device > 0)
        name = "device " + std::to_string(event.device) + " stream " + std::to_string(event.thread);
      else
        name = "stream " + std::to_string(event.thread);
    }
    return names;
  }

  const TracePart& part_;
  const int rank_;
  const int64_t base_ns_;
  const TraceDialect dialect_;
  const std::vector<uint32_t> spans_;
  const std::vector<int> lanes_;  // by span
  const std::vector<uint32_t> operations_;
  const std::vector<StepInterval> steps_;
  const std::vector<MemorySample> memory_;
};

}  // namespace

std::optional<int64_t> first_moment(const TracePart& part) {
  std::optional<int64_t> first;
  const auto look = [&](int64_t own_ns) {
    first = std::min(first.value_or(own_ns), own_ns);
  };
  for (const auto& span : part.spans) look(span.start_ns);
  for (const auto& event : part.operators.events) look(event.start_ns);
  for (const auto& [step, start] : part.step_times) look(start);
  for (const auto& sample : part.memory) look(sample.at_ns);
  if (first) *first = comm::to_rank0(part.clock_at_begin, part.clock_at_end, *first);
  return first;
}

PartCounts format_part(const TracePart& part, int rank, int64_t base_ns, TraceDialect dialect,
                       int64_t max_bytes, GzipPart& out) {
  return Formatter(part, rank, base_ns, dialect).write(max_bytes, out);
}

}  // namespace trireme::report

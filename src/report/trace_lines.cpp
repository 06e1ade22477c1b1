#include "report/trace_lines.h"

#include <trireme/storage/hash.h>

#include "report/trace_text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace trireme::report {
namespace {

using telemetry::OperatorEvent;
using telemetry::SpanRecord;
using Kind = OperatorEvent::Kind;

/// The members of "args", in order; the braces around them.
class Arguments {
 public:
  explicit Arguments(std::string& out) : out_(out) {}
  ~Arguments() { out_ += any_ ? "}" : ""; }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void number(std::string_view name, int64_t value) {
    key(name);
    append_number(out_, value);
  }
  void text(std::string_view name, std::string_view value) {
    key(name);
    append_quoted(out_, value);
  }

 private:
  void key(std::string_view name) {
    out_ += any_ ? ",\"" : ",\"args\":{\"";
    out_ += name;
    out_ += "\":";
    any_ = true;
  }
  std::string& out_;
  bool any_ = false;
};

/// As PyTorch's profiler calls them, whose traces others' tools read.
std::string_view category_of(const OperatorEvent& event, std::string_view name) {
  switch (event.kind) {
    case Kind::operation:
      return "cpu_op";
    case Kind::annotation:
      return "user_annotation";
    case Kind::runtime:
      return "cuda_runtime";
    case Kind::kernel:
      return "kernel";
    case Kind::copy:
      return name.substr(0, 6) == "Memset" ? "gpu_memset" : "gpu_memcpy";
    case Kind::memory:
      return "cpu_instant_event";
  }
  return "cpu_op";
}

/// Records count the completed steps, people the one that is made: as in the metrics.
int64_t shown(int64_t step) {
  return step + 1;
}

/// The finaliser of SplitMix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014).
uint64_t mixed(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

int64_t thread_of(const OperatorEvent& event, int operator_thread) {
  if (on_stream(event)) return first_stream(std::max(0, event.device)) + event.thread;
  if (event.thread == 0 && operator_thread >= 0) return first_span_thread + operator_thread;
  return first_operator_thread + event.thread;
}

TraceLines::TraceLines(const TracePart& part, int rank, int64_t base_ns, TraceDialect dialect,
                       bool first)
    : part_(part),
      rank_(rank),
      clock_(part, base_ns),
      dialect_(dialect),
      first_(first),
      pid_("{\"pid\":") {
  append_number(pid_, rank);
  pid_ += ",\"tid\":";
}

void TraceLines::begin(std::string& out, int64_t thread, char phase) {
  if (!first_) out += ",\n";
  first_ = false;
  out += pid_;
  append_number(out, thread);
  out += ",\"ph\":\"";
  out += phase;
  out += '"';
}

int TraceLines::process(std::string& out) {
  const auto metadata = [&](std::string_view name) {
    begin(out, steps_thread, 'M');
    out += ",\"name\":\"";
    out += name;
    out += '"';
  };
  metadata("process_name");
  Arguments(out).text("name", "rank " + std::to_string(rank_) + " on " + part_.host);
  out += '}';
  metadata("process_labels");
  Arguments(out).text("labels", "pid " + std::to_string(part_.pid));
  out += '}';
  metadata("process_sort_index");
  Arguments(out).number("sort_index", rank_);
  out += '}';
  return 3;
}

int TraceLines::thread(std::string& out, int64_t thread, std::string_view name) {
  begin(out, thread, 'M');
  out += ",\"name\":\"thread_name\"";
  Arguments(out).text("name", name);
  out += '}';
  begin(out, thread, 'M');
  out += ",\"name\":\"thread_sort_index\"";
  Arguments(out).number("sort_index", thread == steps_thread ? 0 : thread);
  out += '}';
  return 2;
}

void TraceLines::complete(std::string& out, int64_t thread, std::string_view category,
                          std::string_view name, int64_t start_ns, int64_t duration_ns) {
  ++completes_;
  // Both ends are mapped, so that what lies within something else still does.
  const int64_t start = clock_(start_ns);
  const int64_t end = clock_(start_ns + std::max<int64_t>(0, duration_ns));
  begin(out, thread, 'X');
  out += ",\"cat\":\"";
  out += category;
  out += "\",\"ts\":";
  append_microseconds(out, start);
  out += ",\"dur\":";
  append_microseconds(out, end - start);
  out += ",\"name\":";
  append_quoted(out, name);
}

int TraceLines::step(std::string& out, int64_t number, int64_t start_ns, int64_t end_ns) {
  complete(out, steps_thread, "user_annotation", "ProfilerStep#" + std::to_string(shown(number)),
           start_ns, end_ns - start_ns);
  Arguments(out).number("step", shown(number));
  out += '}';
  return 1;
}

int TraceLines::memory(std::string& out, const MemorySample& sample) {
  begin(out, steps_thread, 'C');
  out += ",\"ts\":";
  append_microseconds(out, clock_(sample.at_ns));
  out += ",\"name\":\"memory\"";
  {
    Arguments bytes(out);
    bytes.number("allocated", sample.allocated);
    bytes.number("reserved", sample.reserved);
  }
  out += '}';
  return 1;
}

int64_t thread_of(const SpanRecord& span, int lane) {
  if (lane >= 0) return first_communication_thread + lane;
  return span.track == telemetry::Track::units ? units_thread : first_span_thread + span.thread;
}

int TraceLines::span(std::string& out, const SpanRecord& record, int lane) {
  const int64_t thread = thread_of(record, lane);
  const std::string_view name = record.name == nullptr ? "" : record.name;
  const std::string_view category = dialect_ == TraceDialect::merged
                                        ? telemetry::name_of(record.category)
                                        : std::string_view("user_annotation");
  complete(out, thread, category, name, record.start_ns, record.duration_ns);
  {
    Arguments about(out);
    if (record.step >= 0) about.number("step", shown(record.step));
    if (record.group != nullptr) {
      about.text("Collective name", name);
      about.text("group", record.group);
      about.text("Process Group Name", record.group);
      about.number("Group size", record.group_size);
      about.number("bytes", record.bytes);
      if (record.sequence >= 0) about.number("sequence", record.sequence);
    } else if (record.bytes != 0 || record.peak >= 0) {
      about.number("memory delta", record.bytes);
      if (record.peak >= 0) about.number("memory peak", record.peak);
    }
  }
  out += '}';
  return 1 + links(out, record, thread);
}

/// An arrow from each rank of the group to the next. A chain of pairs, and not one flow over all,
/// because steps of a flow must not come before its begin, nor after its end: of two ranks only the
/// one's start and the other's end are in order in any case.
int TraceLines::links(std::string& out, const SpanRecord& record, int64_t thread) {
  if (dialect_ != TraceDialect::merged) return 0;  // an arrow to another rank leads nowhere there
  if (record.group == nullptr || record.sequence < 0 || record.group_size < 2) return 0;
  const uint64_t call =
      hash_of_group(record.group) + 0x9e3779b97f4a7c15ULL * static_cast<uint64_t>(record.sequence);
  const auto id = [&](int rank) {
    return mixed(mixed(call) + static_cast<uint64_t>(static_cast<uint32_t>(rank)));
  };
  const int64_t start = clock_(record.start_ns);
  const int64_t end = clock_(record.start_ns + std::max<int64_t>(0, record.duration_ns));
  int lines = 0;
  if (record.group_rank + 1 < record.group_size) {
    link(out, thread, 's', "collective", id(record.group_rank), start);
    ++lines;
  }
  if (record.group_rank > 0) {
    link(out, thread, 'f', "collective", id(record.group_rank - 1), std::max(start, end - 1));
    ++lines;
  }
  return lines;
}

void TraceLines::link(std::string& out, int64_t thread, char phase, std::string_view name,
                      uint64_t id, int64_t at) {
  begin(out, thread, phase);
  out += ",\"cat\":\"";
  out += name;
  out += "\",\"name\":\"";
  out += name;
  out += "\",\"id\":\"0x";
  std::array<char, 16> digits;
  out.append(digits.data(),
             std::to_chars(digits.data(), digits.data() + digits.size(), id, 16).ptr);
  out += "\",\"ts\":";
  append_microseconds(out, at);
  out += phase == 'f' ? ",\"bp\":\"e\"}" : "}";
}

int TraceLines::operation(std::string& out, const OperatorEvent& event) {
  const int64_t thread = thread_of(event, part_.operator_thread);
  const std::string_view name = string_at(event.name);
  if (event.kind == Kind::memory) {
    begin(out, thread, 'i');
    out += ",\"s\":\"t\",\"cat\":\"cpu_instant_event\",\"name\":\"[memory]\",\"ts\":";
    append_microseconds(out, clock_(event.start_ns));
    {
      Arguments about(out);
      about.number("Bytes", event.bytes);
      about.number("Device Id", event.device);
    }
    out += '}';
    return 1;
  }
  complete(out, thread, category_of(event, name), name, event.start_ns, event.duration_ns);
  {
    Arguments about(out);
    if (on_stream(event)) {
      about.number("device", event.device);
      about.number("stream", event.thread);
    }
    if (event.correlation != 0) about.number("correlation", event.correlation);
    if (event.step >= 0) about.number("step", shown(event.step));
    if (event.shapes != 0) about.text("Input Dims", string_at(event.shapes));
    if (event.flops != 0) about.number("flops", event.flops);
    if (event.bytes != 0) about.number("bytes", event.bytes);
    if (event.stack != 0) about.text("stack", string_at(event.stack));
  }
  out += '}';
  return 1 + launch(out, event, thread);
}

/// The arrow from a launch to what it started.
int TraceLines::launch(std::string& out, const OperatorEvent& event, int64_t thread) {
  if (event.correlation == 0 || (event.kind != Kind::runtime && !on_stream(event))) return 0;
  const uint64_t id = (static_cast<uint64_t>(rank_) + 1) << 40 |
                      (static_cast<uint64_t>(event.correlation) & 0xffffffffff);
  link(out, thread, on_stream(event) ? 'f' : 's', "ac2g", id, clock_(event.start_ns));
  return 1;
}

std::string_view TraceLines::string_at(uint32_t index) const {
  const auto& strings = part_.operators.strings;
  return index < strings.size() ? std::string_view(strings[index]) : std::string_view();
}

uint64_t TraceLines::hash_of_group(const char* group) {
  if (group != hashed_group_) {
    hashed_group_ = group;
    group_hash_ = storage::hash_of(std::string_view(group)).low;
  }
  return group_hash_;
}

}  // namespace trireme::report

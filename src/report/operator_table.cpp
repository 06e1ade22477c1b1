#include <trireme/report/operator_table.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>
#include <utility>

namespace trireme::report {
namespace {

using telemetry::OperatorEvent;
using telemetry::OperatorTrace;
using telemetry::SpanRecord;
using Kind = OperatorEvent::Kind;

double seconds(int64_t ns) {
  return 1e-9 * static_cast<double>(ns);
}

int64_t end_of(const OperatorEvent& event) {
  return event.start_ns + event.duration_ns;
}

constexpr std::array<std::string_view, 13> synchronising{"aten::item",
                                                         "aten::_local_scalar_dense",
                                                         "aten::is_nonzero",
                                                         "aten::equal",
                                                         "cudaStreamSynchronize",
                                                         "cudaDeviceSynchronize",
                                                         "cudaEventSynchronize",
                                                         "cudaMemcpy",
                                                         "cudaMemcpy2D",
                                                         "cudaMemset",
                                                         "cuStreamSynchronize",
                                                         "cuCtxSynchronize",
                                                         "cuEventSynchronize"};

/// What is inside each event.
struct Inside {
  std::vector<int64_t> ns, bytes;
  Inside(const OperatorTrace& trace, const std::vector<int64_t>& parents)
      : ns(trace.events.size()), bytes(trace.events.size()) {
    for (size_t i = 0; i < trace.events.size(); ++i) {
      if (parents[i] < 0 || trace.events[i].kind == Kind::memory) continue;
      const auto parent = static_cast<size_t>(parents[i]);
      // A child may seem to end later than its parent where clocks were converted.
      ns[parent] += std::min(end_of(trace.events[i]), end_of(trace.events[parent])) -
                    trace.events[i].start_ns;
      bytes[parent] += trace.events[i].bytes;
    }
  }
};

class Ancestors {
 public:
  Ancestors(const OperatorTrace& trace, const std::vector<int64_t>& parents)
      : trace_(trace), parents_(parents) {}
  /// The innermost around `event` for which `is` holds; null: none.
  template <class Is>
  [[nodiscard]] const OperatorEvent* find(size_t event, Is is) const {
    for (int64_t i = parents_[event]; i >= 0; i = parents_[static_cast<size_t>(i)])
      if (is(trace_.events[static_cast<size_t>(i)])) return &trace_.events[static_cast<size_t>(i)];
    return nullptr;
  }

 private:
  const OperatorTrace& trace_;
  const std::vector<int64_t>& parents_;
};

/// The innermost of the spans around moments that only grow.
class SpanCursor {
 public:
  explicit SpanCursor(std::span<const SpanRecord> spans) : spans_(spans.begin(), spans.end()) {
    std::ranges::stable_sort(spans_, [](const SpanRecord& a, const SpanRecord& b) {
      return a.start_ns != b.start_ns ? a.start_ns < b.start_ns : a.duration_ns > b.duration_ns;
    });
  }
  [[nodiscard]] const char* around(int64_t moment) {
    const auto drop = [this](int64_t until) {
      while (!open_.empty() && open_.back()->start_ns + open_.back()->duration_ns <= until)
        open_.pop_back();
    };
    for (; next_ < spans_.size() && spans_[next_].start_ns <= moment; ++next_) {
      drop(spans_[next_].start_ns);
      open_.push_back(&spans_[next_]);
    }
    drop(moment);
    return open_.empty() ? "" : open_.back()->name;
  }

 private:
  std::vector<SpanRecord> spans_;
  std::vector<const SpanRecord*> open_;
  size_t next_ = 0;
};

}  // namespace

OperatorTable operator_table(const OperatorTrace& trace, std::span<const SpanRecord> spans,
                             bool on_device) {
  const std::vector<int64_t> parents = telemetry::parents_of(trace.events);
  const Inside inside(trace, parents);
  const Ancestors ancestors(trace, parents);
  std::vector<bool> synchronises(trace.strings.size());
  for (size_t i = 0; i < trace.strings.size(); ++i)
    synchronises[i] = std::ranges::find(synchronising, trace.strings[i]) != synchronising.end();

  std::map<std::pair<uint32_t, Kind>, OperatorRow> rows;
  std::map<std::pair<uint32_t, std::string>, HostSyncRow> syncs;
  SpanCursor cursor(spans);
  for (size_t i = 0; i < trace.events.size(); ++i) {
    const OperatorEvent& event = trace.events[i];
    if (event.kind == Kind::memory) continue;
    OperatorRow& row = rows[{event.name, event.kind}];
    row.calls += 1;
    row.self_seconds += seconds(event.duration_ns - inside.ns[i]);
    if (ancestors.find(i, [&](const OperatorEvent& other) {
          return other.name == event.name && other.kind == event.kind;
        }) == nullptr)
      row.total_seconds += seconds(event.duration_ns);
    row.flops += event.flops;
    row.bytes += event.bytes - inside.bytes[i];

    if (!on_device || event.device >= 0 || !synchronises[event.name]) continue;
    if (ancestors.find(i, [&](const OperatorEvent& other) { return synchronises[other.name]; }) !=
        nullptr)
      continue;
    const OperatorEvent* range = ancestors.find(
        i, [](const OperatorEvent& other) { return other.kind == Kind::annotation; });
    std::string around = range != nullptr    ? trace.strings[range->name]
                         : event.thread == 0 ? cursor.around(event.start_ns)
                                             : "";
    HostSyncRow& sync = syncs[{event.name, around}];
    sync.inside = std::move(around);
    sync.calls += 1;
    sync.seconds += seconds(event.duration_ns);
  }

  OperatorTable table{.on_device = on_device};
  for (auto& [key, row] : rows) {
    row.name = trace.strings[key.first];
    row.kind = key.second;
    table.operators.push_back(std::move(row));
  }
  for (auto& [key, sync] : syncs) {
    sync.name = trace.strings[key.first];
    table.host_syncs.push_back(std::move(sync));
  }
  std::ranges::stable_sort(table.operators, std::greater(), &OperatorRow::self_seconds);
  std::ranges::stable_sort(table.host_syncs, std::greater(), &HostSyncRow::seconds);
  return table;
}

}  // namespace trireme::report

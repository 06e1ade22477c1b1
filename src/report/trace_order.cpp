#include "report/trace_order.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

namespace trireme::report {
namespace {

template <class Record>
std::vector<uint32_t> ordered(std::span<const Record> records) {
  std::vector<uint32_t> order(records.size());
  std::iota(order.begin(), order.end(), 0U);
  const auto earlier = [&](uint32_t a, uint32_t b) {
    const Record &x = records[a], &y = records[b];
    return x.start_ns != y.start_ns ? x.start_ns < y.start_ns : x.duration_ns > y.duration_ns;
  };
  if (!std::is_sorted(order.begin(), order.end(), earlier))
    std::stable_sort(order.begin(), order.end(), earlier);
  return order;
}

std::unordered_map<int64_t, const telemetry::StepRecord*> by_number(const TracePart& part) {
  std::unordered_map<int64_t, const telemetry::StepRecord*> records;
  for (const telemetry::StepRecord& record : part.steps) records[record.step] = &record;
  return records;
}

int64_t latest_end(const TracePart& part) {
  int64_t end = 0;
  for (const auto& span : part.spans) end = std::max(end, span.start_ns + span.duration_ns);
  for (const auto& event : part.operators.events)
    end = std::max(end, event.start_ns + event.duration_ns);
  return end;
}

}  // namespace

std::vector<uint32_t> order_of(std::span<const telemetry::SpanRecord> spans) {
  return ordered(spans);
}
std::vector<uint32_t> order_of(std::span<const telemetry::OperatorEvent> events) {
  return ordered(events);
}

std::vector<int> communication_lanes(std::span<const telemetry::SpanRecord> spans,
                                     std::span<const uint32_t> order) {
  std::vector<int> lanes(spans.size(), -1);
  std::vector<int64_t> busy_until;  // of each lane
  for (const uint32_t i : order) {
    if (spans[i].group == nullptr) continue;
    size_t lane = 0;
    while (lane < busy_until.size() && busy_until[lane] > spans[i].start_ns) ++lane;
    if (lane == busy_until.size()) busy_until.push_back(0);
    busy_until[lane] = spans[i].start_ns + spans[i].duration_ns;
    lanes[i] = static_cast<int>(lane);
  }
  return lanes;
}

std::vector<StepInterval> step_intervals(const TracePart& part) {
  const auto records = by_number(part);
  std::vector<StepInterval> steps;
  for (size_t i = 0; i < part.step_times.size(); ++i) {
    const auto [step, start] = part.step_times[i];
    const bool last = i + 1 == part.step_times.size();
    const int64_t next = last ? std::max(start, latest_end(part)) : part.step_times[i + 1].second;
    const auto record = records.find(step);
    const double seconds = record == records.end() ? 0 : record->second->seconds;
    const int64_t known = start + std::llround(seconds * 1e9);
    const int64_t end = seconds > 0 ? (last ? known : std::min(known, next)) : next;
    steps.push_back({step, start, std::max(start, end)});
  }
  return steps;
}

std::vector<MemorySample> memory_samples(const TracePart& part) {
  if (!part.memory.empty()) return part.memory;
  const auto records = by_number(part);
  std::vector<MemorySample> samples;
  for (const StepInterval& step : step_intervals(part))
    if (const auto record = records.find(step.step); record != records.end())
      samples.push_back({.at_ns = step.end_ns,
                         .allocated = record->second->memory.allocated,
                         .reserved = record->second->memory.reserved});
  return samples;
}

}  // namespace trireme::report

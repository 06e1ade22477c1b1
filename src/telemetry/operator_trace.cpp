#include <trireme/telemetry/operator_trace.h>

#include <algorithm>
#include <map>
#include <utility>

namespace trireme::telemetry {

void order(std::vector<OperatorEvent>& events) {
  std::ranges::stable_sort(events, [](const OperatorEvent& a, const OperatorEvent& b) {
    return a.start_ns != b.start_ns ? a.start_ns < b.start_ns : a.duration_ns > b.duration_ns;
  });
}

std::vector<int64_t> parents_of(std::span<const OperatorEvent> events) {
  std::vector<int64_t> parents(events.size(), -1);
  std::map<std::pair<int32_t, int32_t>, std::vector<size_t>> open;  // by device and thread
  for (size_t i = 0; i < events.size(); ++i) {
    const OperatorEvent& event = events[i];
    std::vector<size_t>& stack = open[{event.device, event.thread}];
    const auto over = [&](size_t other) {
      return events[other].start_ns + events[other].duration_ns <= event.start_ns;
    };
    while (!stack.empty() && over(stack.back())) stack.pop_back();
    if (!stack.empty()) parents[i] = static_cast<int64_t>(stack.back());
    if (event.kind != OperatorEvent::Kind::memory) stack.push_back(i);
  }
  return parents;
}

}  // namespace trireme::telemetry
